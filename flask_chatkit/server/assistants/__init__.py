"""Chats that a function of the site answers."""
