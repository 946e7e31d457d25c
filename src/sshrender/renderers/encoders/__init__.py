"""Encoders: turn the raster of a page into a file. Rows in, bytes out: no file is opened here.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

ISAL, ZLIB = "isal", "zlib"
"""The compressors: ISA-L if the host has it, otherwise Python's zlib."""
