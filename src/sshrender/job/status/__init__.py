"""The status of a job as a whole, and the CPU time that it took."""
