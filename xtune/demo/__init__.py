"""The invented world, the corpus, the tokenizer and the quick-start task of the bundled demo model."""
