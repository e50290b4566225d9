"""Rows of files become batches: sources, formats, encoding with proven masks, packing, a seeded order."""
