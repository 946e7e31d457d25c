"""Is this file a whole image of this page? Each format is asked for what it can show.

Everything here but process.py runs in a child process of the coordinator (worker.py), because the file
was written by a host. It imports nothing that is slow to load.
"""
