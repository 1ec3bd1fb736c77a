"""Sign-ins that were used.

All processes on one database share them, so that each is accepted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from sqlalchemy import select

from exacto_plugin.store.rows import replace_document
from exacto_plugin.store.tables import documents

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NAME = "page/used_claims"
_ATTEMPTS = 5
"""Attempts while other processes write the same row."""


def use_once(connection: Connection, claim: str, now: float, expires: float) -> bool:
    """Return True if a claim was not used before, and keep it until it expires.

    Args:
        connection: in a transaction.
        claim: hash of it.
        now: UTC seconds.
        expires: UTC seconds after which it is refused for its age.
    """
    for _ in range(_ATTEMPTS):
        before = connection.scalar(select(documents.c.payload).where(documents.c.name == _NAME))
        used: dict[str, float] = {} if before is None else orjson.loads(before)
        if claim in used:
            return False
        kept = {name: until for name, until in used.items() if until > now} | {claim: expires}
        if replace_document(connection, _NAME, before, orjson.dumps(kept).decode()):
            return True
    return False
