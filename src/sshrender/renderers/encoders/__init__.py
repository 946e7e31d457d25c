"""How the raster of a page becomes a file. Rows in, bytes out: no file is opened here.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

ISAL, ZLIB = "isal", "zlib"
"""What compresses: ISA-L where the host has it, else the zlib of Python."""
