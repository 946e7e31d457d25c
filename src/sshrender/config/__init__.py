"""Read and check the inventory, the settings and the user's key; record the source of each value."""
