"""The pure core: no I/O, no clock (time is an argument), no LiteLLM, Starlette or OpenTelemetry.

Imports run one way: ``model <- {policy, evaluation, window, reference} <- tiers <- ordering <- engine``.
"""
