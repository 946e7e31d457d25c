"""Tests of sshrender.api."""
