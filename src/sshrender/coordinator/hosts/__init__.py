"""The hosts of a run: connections, handshake, routing of commands, file transfers."""
