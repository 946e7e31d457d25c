"""The dashboard: a job's journal on a terminal, live. A viewer, never the engine.

It reads what any machine with the SAN can read, and asks for things by laying requests before the
job's coordinator. The job neither knows of it nor depends on it.
"""
