"""Tests of :mod:`exacto_plugin.litellm_hooks.compiled`."""
