"""The checks of ``flask chatkit doctor``, which name each fault with its cure."""
