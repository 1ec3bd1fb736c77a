"""Deployments on record, as the verbs of ``exacto bench`` name them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from exacto_plugin.audit import queries
from exacto_plugin.bench.ingest import Known

if TYPE_CHECKING:
    from sqlalchemy import Connection


def deployments_on_record(connection: Connection) -> list[Known]:
    """Return the deployments on record, each with the provider that it had last."""
    found = []
    for group, deployment in queries.deployments_in(connection):
        record = queries.tier_at(connection, group, deployment, time.time())
        found.append(Known(group, deployment, "" if record is None else record.provider))
    return found
