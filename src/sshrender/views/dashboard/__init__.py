"""The dashboard: shows a job's journal on a terminal, live. It never drives the job.

It reads files that every machine with the shared folder can read, and writes requests that the job's
coordinator carries out. The job does not know about the dashboard and does not depend on it.
"""
