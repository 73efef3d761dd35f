"""ChatKit's protocol: its operations, who may call them, and retries of the same message."""
