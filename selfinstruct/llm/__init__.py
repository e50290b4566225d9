"""The LLM: a server or a model in this process, asked fast and within limits."""
