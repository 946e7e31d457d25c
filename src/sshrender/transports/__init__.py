"""Ways to reach a runner on a host: a local pipe, or one SSH channel, both behind one Protocol.

Transports know the messages between coordinator and runner; they know nothing of scheduling.
"""
