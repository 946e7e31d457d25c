"""A job on the SAN: its folder, spec, journal and lease, and how pages are verified and published."""
