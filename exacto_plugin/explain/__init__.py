"""Answers to "why": from what is recorded to sentences with the numbers."""
