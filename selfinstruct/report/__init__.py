"""What people see of a run: its progress, its numbers, and the data set that comes out with its card."""
