"""The process as a whole: its start, limits, signals, threads, child processes and garbage collector."""
