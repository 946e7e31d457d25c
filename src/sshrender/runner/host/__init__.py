"""What the runner knows of its host and sets there: facts, load, limits, folders, the sandbox."""
