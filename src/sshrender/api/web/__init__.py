"""The part of the api for the web front end alone: uploads, files, the live feed, access."""
