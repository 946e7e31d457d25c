"""What people and programs see of a run: folds of journal entries and snapshots. Never the engine."""
