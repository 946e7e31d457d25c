"""The runner: the program that is sent to a host and renders pages there; nothing is installed.

Standard library only, Python 3.7 and later. It may import ``sshrender.renderers``,
``sshrender.storage.primitives`` and ``sshrender.storage.processidentity``, and nothing else of the
program.
"""
