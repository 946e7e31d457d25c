"""The renderers: what to send to them, and what their output means. Pure: no I/O.

Imported on the hosts as part of the runner's payload: standard library only, Python 3.7 and later.
"""
