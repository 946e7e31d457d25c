"""The output folder of a job: who owns it, what is published there, and the manifest."""
