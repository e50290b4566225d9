"""What a model does with held-out rows: losses, answers beside the expected ones, and a chat."""
