"""Measures of answers, as pure functions of texts and numbers; no model here."""
