"""The owner's side: threads carried over, one person's data, how long data is kept, counts."""
