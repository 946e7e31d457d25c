"""The commands: parse options, call the api, print, return an exit code.

The api is imported inside commands, so that ``--help`` starts fast.
"""
