"""``flask chatkit doctor``: checks a set-up, and names each fault with its cure."""
