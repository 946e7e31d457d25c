"""Renders pages in a slot: warm and one-shot programs, rasters, the encoder, what is finished."""
