"""Proposes curated lists from what a running proxy has measured."""
