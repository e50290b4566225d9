"""Makes multilingual instruction data: seeds, translation, generation, checks, novelty; what it writes trains in xtune."""
