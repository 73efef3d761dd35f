"""What chats of the Agents SDK are made of."""
