"""Per-process objects, worker threads and watchdogs."""
