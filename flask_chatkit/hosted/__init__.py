"""A client of OpenAI's hosted ChatKit API, independent of Flask."""
