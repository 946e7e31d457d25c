"""What runs on a host: one payload over the wire, nothing installed, nothing left behind.

Standard library only, Python 3.7 and later. It may import ``sshrender.renderers`` and nothing else
of the house.
"""
