"""The verbs of selfinstruct, for the command line and for Python."""
