"""Answers token by token: which token comes next, many answers at once, files of rows. Opens no models."""
