"""Bare HTTP on loopback."""

from __future__ import annotations

from functools import cache

import httpx


@cache
def plain_http() -> httpx.Client:
    """A client that all tests share, with a new connection for each request.

    One of their own would load the system's certificates each time: 30 ms of processor time, for nothing on loopback.
    """
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(timeout=60.0, trust_env=False, verify=False, limits=limits)
