"""Adapters of batch engines: from requests to argument lists, and from answers to records. Pure.

``interface.py`` states what each does. A bad answer is an error, never a state: an engine that cannot be
reached, or whose answer cannot be read, says nothing about its jobs.
"""
