"""The command `selfinstruct`: it parses, calls one function, prints."""
