"""What is put on record while requests are served and tiers recomputed; kept by whatever store there is."""
