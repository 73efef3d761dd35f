"""The commands ``flask chatkit …``, one group for each kit."""
