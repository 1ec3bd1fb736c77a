"""Verbs of ``exacto bench`` beside those on logs and scores."""
