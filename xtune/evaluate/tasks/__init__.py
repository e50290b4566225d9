"""Public test sets by name: the table of them, their rows, and the prompts made of rows; no model here."""
