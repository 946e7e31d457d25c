"""Hosts that a batch system lends: the commands of engines, and carriers to a runner there."""
