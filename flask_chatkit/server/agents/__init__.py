"""What agents need beside the agent itself: usage, memory, and what a refusal leaves out."""
