"""The source of a subcommand: a running proxy, or the store itself.

The store also works while the proxy is down.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

from exacto_plugin.audit import queries, views
from exacto_plugin.audit.report import report
from exacto_plugin.cli.proxy_client import ProxyError, add_url, request_json
from exacto_plugin.config.settings import BLOCK, Settings
from exacto_plugin.config.sources import CONFIG_VARIABLE, read_config, settings_of_file
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.location import default_location, location_of_url
from exacto_plugin.store.rows import reading
from exacto_plugin.terminal import write_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.audit.verify import Verification
    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")
Plain = dict[str, Any]


class Source(Protocol):
    """A source of plain data, with times in UTC seconds."""

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """Return ``answers``, one per model group; ``at`` None means now.

        ``first_at`` when only later records exist.
        """

    def request(self, name: str) -> Plain:
        """Return a request by either of its ids.

        Raises:
            ExactoError: it is not on record.
        """

    def audit(self, **filters: Any) -> Plain:
        """Return ``entries``, newest first; see ``queries.audit``."""

    def tiers(self, model_group: str | None) -> Plain:
        """Return ``model_groups`` as in the API, and the state of the ``store``.

        ``recorded``: the numbers are from records and may be old.
        """

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """Return ``model_groups``; see ``audit.report``."""


class ProxySource:
    """A running proxy."""

    def __init__(self, url: str) -> None:
        self._url = url

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """Return the proxy's answer; for the past, from its store."""
        return request_json(self._url, "why", deployment=deployment, model_group=model_group, at=at)

    def request(self, name: str) -> Plain:
        """Return a request from the proxy's store."""
        return request_json(self._url, f"decisions/{quote(name, safe='')}")

    def audit(self, **filters: Any) -> Plain:
        """Return entries from the proxy's store."""
        return request_json(self._url, "audit", **filters)

    def tiers(self, model_group: str | None) -> Plain:
        """Return the tiers in force."""
        found = request_json(self._url, "models")
        groups = [one for one in found["model_groups"] if model_group in (None, one["model_group"])]
        return {**found, "model_groups": groups, "store": request_json(self._url, "status").get("store")}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """Return the report from the proxy's store."""
        return request_json(self._url, "report", since=since, until=until, model_groups=list(model_groups) or None)


class StoreSource:
    """A store, read directly."""

    def __init__(self, location: StoreLocation) -> None:
        self._location = location

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reading(self._location) as connection:
            yield connection

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """Return the last state on record."""
        with self._reading() as connection:
            moment = time.time() if at is None else at
            return views.why_past(connection, deployment, moment, past=at is not None, model_group=model_group)

    def request(self, name: str) -> Plain:
        """Return a request on record.

        Raises:
            ExactoError: it is not on record.
        """
        with self._reading() as connection:
            found = views.decision(connection, name)
        if found is None:
            raise ExactoError(views.NOT_KEPT.format(name=name))
        return found

    def audit(self, **filters: Any) -> Plain:
        """Return all entries on record."""
        with self._reading() as connection:
            return {"entries": views.audit(connection, **filters)}

    def tiers(self, model_group: str | None) -> Plain:
        """Return the last tiers on record."""
        with self._reading() as connection:
            return {"model_groups": views.tiers(connection, time.time(), model_group), "recorded": True}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """Return the report from the counts of all workers."""
        with self._reading() as connection:
            return {"model_groups": report(queries.hours(connection, since, until, model_groups))}

    def verify(self, since: float | None, until: float | None) -> Verification:
        """Recompute the results on record."""
        with self._reading() as connection:
            return queries.verify(connection, since, until)


def add_source_options(parser: argparse.ArgumentParser, *, proxy: bool = True) -> None:
    """Add ``--url``, ``--config`` and ``--store``."""
    if proxy:
        add_url(parser, required=False)
    parser.add_argument("--config", metavar="FILE", help="LiteLLM's config.yaml: the store that a proxy with it keeps")
    parser.add_argument("--store", metavar="URL", help="the store itself, as in store.url")


def query(options: argparse.Namespace, question: Callable[[Source], R]) -> R:
    """Query the proxy; the store if no proxy was given or it is unreachable.

    Raises:
        ExactoError: no source was given, or none can answer.
    """
    url = getattr(options, "url", None)
    location = location_of(options)
    if url is None:
        if location is None:
            raise ExactoError("no source given: use --url PROXY, --config FILE or --store URL")
        return question(StoreSource(location))
    try:
        return question(ProxySource(url))
    except ProxyError as error:
        if location is None or not error.unreachable:
            raise
        write_text(f"exacto: {error}; reading {location.name} instead", sys.stderr)
        return question(StoreSource(location))


def location_of(options: argparse.Namespace) -> StoreLocation | None:
    """Return the store of ``--store`` or ``--config``; None without either.

    Raises:
        SettingsError: the URL or the configuration cannot be used.
    """
    if options.store is not None:
        return location_of_url(options.store)
    if options.config is None:
        return None
    path = Path(options.config)
    named = os.environ.get(CONFIG_VARIABLE)
    has_block = BLOCK in read_config(path)
    settings = settings_of_file(Path(named) if named else path, os.environ) if named or has_block else Settings()
    if settings.store.url is not None:
        return location_of_url(settings.store.url.get_secret_value())
    return default_location(str(path), os.environ)
