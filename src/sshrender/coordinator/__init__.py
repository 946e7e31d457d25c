"""Runs jobs: one loop that feeds the scheduler and carries out its commands, and what it needs."""
