"""What each process of a server has: objects made after the fork, worker threads, watchdogs."""
