"""Chats that are answered by agents of OpenAI's Agents SDK."""
