"""The web front end: uploads, live pages of jobs, downloads, and a JSON interface, over HTTP."""
