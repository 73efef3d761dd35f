"""The owner's commands: ``flask chatkit …``, one group for each kit."""
