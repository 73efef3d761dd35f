"""The options of the macros: names, accepted forms, translations."""
