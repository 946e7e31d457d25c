"""The runner's view of its host: facts, load, limits, folders, the sandbox."""
