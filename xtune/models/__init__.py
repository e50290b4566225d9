"""Base models and tokenizers: found in a folder or on a hub, checked, loaded in the plan's types."""
