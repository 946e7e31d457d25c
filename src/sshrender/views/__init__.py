"""Show a run to users and programs, from journal entries and snapshots. A view never drives the run."""
