"""A run on disk: its folder and lock, metrics that survive a kill, checkpoints that are whole or absent."""
