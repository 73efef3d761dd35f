"""How an answer becomes a stream of bytes, under WSGI and ASGI."""
