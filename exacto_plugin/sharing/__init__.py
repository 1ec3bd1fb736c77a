"""Several processes with one opinion: what they tell each other and who judges for all."""
