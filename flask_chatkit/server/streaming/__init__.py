"""How an answer is made and sent: beside ``loop`` and ``bridge``, what is noted of it."""
