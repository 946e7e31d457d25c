"""Pilots: jobs of a batch system that lend a node to a run, each of which becomes a host of it."""
