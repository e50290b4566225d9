"""What a run keeps on disk: replies as they arrive, and the pools that they fill; whole after any kill."""
