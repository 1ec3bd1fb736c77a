"""HTTP client of a running proxy, with an administrator's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx

from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

KEYS = ("EXACTO_API_KEY", "LITELLM_MASTER_KEY")
"""Environment variables for the key; the first one that is set counts."""


class ProxyError(ExactoError):
    """The proxy cannot be reached, or does not answer as expected.

    Args:
        message: for people.
        unreachable: True when there was no answer at all.
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


def add_url(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--url``."""
    parser.add_argument(
        "--url", required=required, metavar="PROXY", help=f"the proxy; the key is in {' or '.join(KEYS)}"
    )


def request_json(url: str, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    """Call the API under ``/exacto/api``.

    Args:
        url: of the proxy.
        path: below ``/exacto/api/``.
        body: sent as JSON with POST; None: GET.
        parameters: of the query; those that are None are left out.

    Raises:
        ProxyError: no answer, or another one than an object.
    """
    key = next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
    try:
        answer = httpx.request(
            "GET" if body is None else "POST",
            f"{url.rstrip('/')}/exacto/api/{path}",
            headers={"Authorization": f"Bearer {key}"},
            json=body,
            params={name: value for name, value in parameters.items() if value is not None},
            timeout=30.0,
        )
        content = answer.json() if answer.status_code not in (401, 403) else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProxyError(f"{url} cannot be reached: {type(error).__name__}", unreachable=True) from None
    if answer.is_success and isinstance(content, dict):
        return content
    detail = content.get("detail") if isinstance(content, dict) else None
    if answer.status_code == 422 and isinstance(detail, list):
        detail = "; ".join(_refusal(one) for one in detail)
    hint = "" if answer.is_success else f"; an admin key in {KEYS[0]} is needed"
    raise ProxyError(printable(detail) if isinstance(detail, str) else f"{url} answered {answer.status_code}{hint}")


def _refusal(one: Mapping[str, Any]) -> str:
    """Format a validation error and its field; the first of ``loc`` is its location."""
    field = ".".join(str(part) for part in (one.get("loc") or ())[1:])
    return f"{field}: {one.get('msg')}" if field else str(one.get("msg"))
