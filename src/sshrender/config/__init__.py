"""Inventory and settings: TOML, checked whole, and where each value came from."""
