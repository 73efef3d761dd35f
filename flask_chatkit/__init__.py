"""OpenAI ChatKit on a Flask site."""
