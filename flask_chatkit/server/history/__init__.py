"""The history of served chats: its tables, stores and databases."""
