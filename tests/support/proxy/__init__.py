"""A real LiteLLM proxy, its clients and providers, for tests."""
