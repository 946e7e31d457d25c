"""The slots of a host, which all users and jobs share: their locks, and the tasks of one slot."""
