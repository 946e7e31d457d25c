"""Worker threads of a run: each does I/O that may block, so that the coordinator's loop never waits."""
