"""What people ask of jobs: requests, pauses, drained hosts, and the queue in its order."""
