"""Compares the speed of sshrender with that of plain Ghostscript and GNU parallel; see README.md."""
