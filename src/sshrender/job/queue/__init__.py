"""Users' requests to jobs: changes, pauses, drained hosts, and the queue in its order."""
