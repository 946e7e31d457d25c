"""Pilots: jobs of a batch system. Each lends a node to a run and becomes one of its hosts."""
