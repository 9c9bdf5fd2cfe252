"""Read-only questions and their answers, for people and as JSON."""
