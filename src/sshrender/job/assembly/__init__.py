"""Assemble all pages, in order, into one file: written page by page, published whole or not at all."""
