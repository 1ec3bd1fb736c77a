"""LiteLLM's compiled router, since 1.110: the plugin's steps around and within it.

The steps are those of :mod:`exacto_plugin.litellm_hooks.router_patches`, at the places that this router has.
"""
