"""What people see of a run: progress while it trains, its picture, its model card, outside trackers."""
