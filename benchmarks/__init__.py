"""How fast sshrender is beside plain Ghostscript and GNU parallel; see README.md."""
