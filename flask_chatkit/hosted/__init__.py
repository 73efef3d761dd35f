"""OpenAI's hosted ChatKit API, over requests. Knows nothing of Flask."""
