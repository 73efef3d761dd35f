"""What the history is besides a store: its migrations, its people, how long it is kept."""
