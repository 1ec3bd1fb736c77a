"""HTTP client of a running proxy, with an administrator's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx

from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import printable
from exacto_plugin.text_tables import busy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

KEYS = ("EXACTO_API_KEY", "LITELLM_MASTER_KEY")
"""Environment variables for the key; the first one that is set counts."""

URL_VARIABLE = "EXACTO_URL"
"""Environment variable for the address, where no ``--url`` is given."""

_TIMEOUT_S = 30.0


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
    """Add ``--url``; where it is required, ``EXACTO_URL`` does as well."""
    default = (os.environ.get(URL_VARIABLE) or "") if required else None
    parser.add_argument(
        "--url",
        default=default,
        metavar="PROXY",
        help=f"the proxy, e.g. http://localhost:4000; default: {URL_VARIABLE}; the key is in {' or '.join(KEYS)}",
    )


def api_key() -> str | None:
    """Return the administrator's key in the environment; None without one."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), None)


def base_url(url: str) -> str:
    """Return an address with its scheme, which is ``http`` where none is written.

    Raises:
        ProxyError: it has another scheme, or there is none.
    """
    if not url:
        raise ProxyError(f"no proxy given: use --url PROXY or set {URL_VARIABLE}")
    whole = url if "://" in url else f"http://{url}"
    if not whole.lower().startswith(("http://", "https://")):
        raise ProxyError(f"{printable(url)} is no address of a proxy; write it like http://localhost:4000")
    return whole.rstrip("/")


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
    address, key = base_url(url), api_key()
    if key is None:
        raise ProxyError(f"no key: set {KEYS[0]} to an admin key of {printable(address)}", unreachable=True)
    try:
        with busy(f"asking {address} ..."):
            answer = httpx.request(
                "GET" if body is None else "POST",
                f"{address}/exacto/api/{path}",
                headers={"Authorization": f"Bearer {key}"},
                json=body,
                params={name: value for name, value in parameters.items() if value is not None},
                timeout=_TIMEOUT_S,
            )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        raise ProxyError(_connection_words(printable(address), error), unreachable=True) from None
    return _content(answer, printable(address))


def _connection_words(address: str, error: Exception) -> str:
    """Describe why a proxy did not answer."""
    text = str(error).lower()
    if isinstance(error, httpx.TimeoutException):
        return f"{address} does not answer within {_TIMEOUT_S:g} s"
    if isinstance(error, UnicodeEncodeError):
        return f"the key in {' or '.join(KEYS)} has a character that no key has"
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return f"{address} is no address; write it like http://localhost:4000"
    if "ssl" in text or "certificate" in text:
        return f"no secure connection to {address}; is it https:// there, with a certificate that this machine trusts?"
    if any(words in text for words in ("name or service", "name resolution", "nodename", "getaddrinfo")):
        return f"{address}: the name of the host is not known"
    if isinstance(error, httpx.ConnectError):
        return f"nothing listens at {address}; is the proxy running, and on this port?"
    return f"{address} breaks off the connection; is it a proxy, and is it http:// or https:// there?"


def _content(answer: httpx.Response, address: str) -> dict[str, Any]:
    """Return the object that a proxy answered.

    Raises:
        ProxyError: it is another answer.
    """
    if answer.status_code in (401, 403):
        raise ProxyError(f"{address} answered {answer.status_code}; an admin key in {KEYS[0]} is needed")
    try:
        content = answer.json()
    except ValueError:
        raise ProxyError(
            f"{address} answered {answer.status_code} without JSON; is it a LiteLLM proxy?", unreachable=True
        ) from None
    if answer.is_success and isinstance(content, dict):
        return content
    detail = content.get("detail") if isinstance(content, dict) else None
    if answer.status_code == 422 and isinstance(detail, list):
        detail = "; ".join(_refusal(one) for one in detail)
    if answer.status_code == 404 and detail == "Not Found":
        remedy = "is exacto_plugin.callback in litellm_settings.callbacks there?"
        if address.endswith(("/exacto", "/exacto/api")):  # as the page's address is copied
            remedy = "leave /exacto out of the address"
        detail = f"{address} has no /exacto/api; {remedy}"
    if isinstance(detail, str):
        raise ProxyError(printable(detail))
    hint = "" if answer.is_success else f"; the key may be unknown there: an admin key in {KEYS[0]} is needed"
    raise ProxyError(f"{address} answered {answer.status_code}{hint}")


def _refusal(one: Mapping[str, Any]) -> str:
    """Format a validation error and its field; the first of ``loc`` is its location."""
    field = ".".join(str(part) for part in (one.get("loc") or ())[1:])
    return f"{field}: {one.get('msg')}" if field else str(one.get("msg"))
