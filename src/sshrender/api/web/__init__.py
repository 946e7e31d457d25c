"""What only the web front end needs of the api: uploads, files, the live feed, access."""
