"""Verify that a file is a whole image of a page: one module for each group of formats.

Everything here but process.py runs in a child process of the coordinator (worker.py), because the file
was written by a host. It imports nothing that is slow to load.
"""
