"""The journal of a job: its entries, their text, their checks, and what they add up to."""
