"""How often and how much: rate limits, requests at a time, and how long a body may take."""
