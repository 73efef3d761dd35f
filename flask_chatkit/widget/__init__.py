"""The widget: its options, its HTML and its assets."""
