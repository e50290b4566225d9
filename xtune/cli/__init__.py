"""The command line: each function parses, calls one library function, and prints."""
