"""What a site declares: its chats, who answers in them, and their checks."""
