"""A job on the SAN: its folder, spec, journal and lease, and the proving and publishing of pages."""
