"""One file of all pages, in order: written page by page, and there whole or not at all."""
