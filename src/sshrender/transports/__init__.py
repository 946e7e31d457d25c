"""Transports: a local pipe, or one SSH channel to a runner on a host, both behind one Protocol.

Transports know the messages between coordinator and runner; they know nothing of scheduling.
"""
