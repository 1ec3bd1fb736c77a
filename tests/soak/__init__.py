"""``make soak``: the properties of :mod:`tests.fuzz` for an hour, and real proxies under mixed traffic."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # before LiteLLM is imported: no look-ups on the network
