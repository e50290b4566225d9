"""What the verbs return in Python: runs, models and tables that show themselves in a notebook. They compute nothing new."""
