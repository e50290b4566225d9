"""Training: the loop, its optimizer and schedule, and the session that sets it up and ends it well."""
