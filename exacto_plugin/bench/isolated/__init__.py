"""A LiteLLM proxy for benchmark traffic only."""
