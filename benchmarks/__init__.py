"""Measurements: speed beside bare LiteLLM, and routing quality. ``python -m benchmarks`` runs them all."""
