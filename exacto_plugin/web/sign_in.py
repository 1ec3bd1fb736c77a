"""Sign-in to the page from LiteLLM's own sidebar.

LiteLLM's UI shows a service of ``general_settings.plugins`` in a frame and gives it a claim: user and role, encrypted
with a key that is derived from ``LITELLM_SALT_KEY`` and the plugin's name, valid for 30 seconds. The page exchanges it
for a session of its own, which is valid for the page only: the API takes LiteLLM's keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import HTTPException

from exacto_plugin.errors import StoreError
from exacto_plugin.store.used_claims import use_once
from exacto_plugin.web.access import ADMINISTRATORS, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cryptography.fernet import Fernet

    from exacto_plugin.store.store import Store

SALT = "LITELLM_SALT_KEY"

SESSION_S = 8 * 3600
"""Seconds that a session lasts: a working day. LiteLLM's own lasts 24 hours."""

_CLAIM_S = 60.0
"""Seconds for which a used claim is remembered: twice as long as LiteLLM accepts one."""

_PREFIX = "exacto-page."
"""Beginning of a session, which no key of LiteLLM's has."""

ENDED = "The sign-in has ended. Open the page again in LiteLLM's sidebar, or paste a key."


def plugin_routes() -> ModuleType | None:
    """Return LiteLLM's module of UI plugins; None where this version has none."""
    try:
        from litellm.proxy import plugin_routes as found
    except ImportError:
        return None
    return found


def registered_names() -> list[str]:
    """Return the names under which LiteLLM's UI has the page.

    Those of plugins whose address ends with ``/exacto``.
    """
    registry: dict[str, Any] = getattr(plugin_routes(), "_plugin_registry", {})
    return [name for name, one in registry.items() if urlsplit(one.url).path.rstrip("/").endswith("/exacto")]


class SignIn:
    """Claims of LiteLLM's UI, and the sessions that the page gives for them.

    Args:
        clock: UTC seconds.
        store: keeps the claims that were used, for all workers; without a place each process keeps its own.
    """

    def __init__(self, clock: Callable[[], float], store: Store) -> None:
        self._clock = clock
        self._store = store
        self._used: dict[str, float] = {}

    async def session(self, claim: str) -> tuple[str, Session]:
        """Return a new session, as the page sends it and as it is, for a claim.

        Raises:
            HTTPException: 503 without a salt or while the store does not answer, 404 where the page is no plugin of
                LiteLLM's, 401 for a claim that is not valid, is too old or was used, 403 for a role without access.
        """
        if not os.environ.get(SALT):
            raise HTTPException(503, f"{SALT} is not set, so a sign-in cannot be verified. Paste a key.")
        names = registered_names()
        if not names:
            raise HTTPException(404, "general_settings.plugins of this proxy does not have the page. Paste a key.")
        found = next((one for one in (_verified(name, claim) for name in names) if one is not None), None)
        if found is None:
            raise HTTPException(
                401, "LiteLLM's sign-in is not valid, or is too old. Open the page again in its sidebar."
            )
        if not await self._is_first_use(claim):
            raise HTTPException(401, "LiteLLM's sign-in was used before. Open the page again in its sidebar.")
        if found.role not in ADMINISTRATORS:
            raise HTTPException(403, "LiteLLM's sign-in opens the page for administrators only. Others paste a key.")
        told = json.dumps({"user": found.user, "role": found.role}).encode()
        return _PREFIX + _cipher().encrypt_at_time(told, int(self._clock())).decode(), found

    def session_of(self, token: str) -> Session | None:
        """Return the session that a token stands for; None for any other key.

        Raises:
            HTTPException: 401, it has ended.
        """
        if not token.startswith(_PREFIX):
            return None
        from cryptography.fernet import InvalidToken

        if not os.environ.get(SALT) or not registered_names():
            raise HTTPException(401, ENDED)
        sealed, now = token.removeprefix(_PREFIX).encode(), int(self._clock())
        try:
            told = _cipher().decrypt_at_time(sealed, ttl=SESSION_S, current_time=now)
        except InvalidToken:
            raise HTTPException(401, ENDED) from None
        return Session(**json.loads(told))

    async def _is_first_use(self, claim: str) -> bool:
        """Remember a claim, and return whether it is new."""
        now = self._clock()
        # Of its bytes: base64 has many texts for the same ones, all of which LiteLLM accepts.
        name = hashlib.blake2b(base64.urlsafe_b64decode(claim.encode()), digest_size=16).hexdigest()
        if name in self._used:
            return False
        self._used = {one: until for one, until in self._used.items() if until > now} | {name: now + _CLAIM_S}
        if self._store.location is None:
            return True
        try:
            return await self._store.work(lambda connection: use_once(connection, name, now, now + _CLAIM_S))
        except StoreError as error:
            raise HTTPException(503, f"used sign-ins cannot be kept: {error}. Paste a key.") from None


def _verified(plugin: str, claim: str) -> Session | None:
    """Return user and role of a claim for a plugin.

    None for one that LiteLLM does not accept.
    """
    from litellm.proxy.plugin_routes import verify_plugin_session_claim

    try:
        told = verify_plugin_session_claim(plugin, claim)
    except ValueError:
        return None
    return Session(str(told.get("user_id") or ""), str(told.get("user_role") or ""))


def _cipher() -> Fernet:
    """Return the cipher of sessions.

    Its key is derived twice, so that it is no plugin's own, and no claim is a session.
    """
    from cryptography.fernet import Fernet

    own = hmac.new(os.environ[SALT].encode(), b"exacto_plugin", hashlib.sha256).digest()
    return Fernet(base64.urlsafe_b64encode(hmac.new(own, b"session of the page", hashlib.sha256).digest()))
