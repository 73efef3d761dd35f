"""The tests of :class:`flask_chatkit.testing.stores.StoreConformance`, by topic."""
