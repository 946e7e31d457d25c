"""What is known of a job as a whole: its status, and the CPU time that it took."""
