"""What should happen next: events in, commands out. Pure: no I/O, no clock, no threads."""
