"""What of the plugin really works with one version of LiteLLM: ``python -m tests.compat.smoke``.

Every row asks a real proxy over HTTP, or a router in a program, and is judged by what the simulated providers saw and
what the client got. Each row that is about routing has a control, the same requests without its feature, which must
come out wrong: then no row passes by luck.
"""
