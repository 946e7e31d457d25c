"""The scheduler: events in, commands out. Pure: no I/O, no clock, no threads."""
