"""Hourly counts of a store, and shares of bad answers by the hour."""
