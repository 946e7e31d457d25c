"""How a runner is reached: a local pipe, or one SSH channel. All behind one Protocol.

Transports know the protocol between coordinator and runner; they know nothing of scheduling.
"""
