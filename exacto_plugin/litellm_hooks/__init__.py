"""The LiteLLM seam: everything that knows LiteLLM's hooks, dictionaries and internals."""
