"""The loop: prompts from seeds and pool, replies into the pool, round after round, in every language at once."""
