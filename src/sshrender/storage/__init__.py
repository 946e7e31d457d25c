"""Operations on files and folders that may hang, fail, fill up or show something old.

The shared folder is usually NFS, and a file server may do all of that. ``files`` holds the operations
themselves, ``hangguard`` runs work that a dead server would block for ever.

``newfiles`` makes files and folders, ``filesystemcheck`` tries what a file system can do. ``primitives``
and ``processidentity`` are also part of what is sent to hosts (transports/payload.py): they use the
standard library only and run on Python 3.7. Nothing here imports the rest of the program.
"""
