"""What the program can do, as typed functions. Commands and scripts call these."""
