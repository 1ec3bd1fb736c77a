"""Every proxy of the tests leaves a record behind from which its tiers follow, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import queries
from exacto_plugin.errors import StoreError
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def verify_records(directory: Path, config: Mapping[str, Any]) -> None:
    """Compute again what a proxy put on record, beside its configuration or where its settings say.

    Raises:
        AssertionError: something does not follow.
    """
    urls = [f"sqlite:///{file}" for file in directory.glob("state/exacto_plugin/*.sqlite")]
    own = ((config.get("exacto_settings") or {}).get("store") or {}).get("url")
    urls += [own] if own else []
    for url in urls:
        try:
            with reading(location_of_url(url)) as connection:
                found = queries.verify(connection)
        except StoreError:  # a test that took the store away, or ended the proxy before there was one
            continue
        assert found.differences == [], url
