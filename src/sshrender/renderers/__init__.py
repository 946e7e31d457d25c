"""How one page becomes a file: Ghostscript's lines out, its lines in. Pure: no I/O.

Imported on the hosts as part of the runner's payload: standard library only, Python 3.7 and later.
"""
