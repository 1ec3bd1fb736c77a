"""Real agent clients against a proxy, with providers that know the truth about every answer they send."""
