"""The one loop: events in, commands carried out, journal written, views told."""
