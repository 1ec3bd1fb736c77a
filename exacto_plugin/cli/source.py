"""Where a verb looks: at a running proxy, or at the store itself, which also answers while the proxy is down."""

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

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.audit.verify import Verification
    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")
Plain = dict[str, Any]


class Source(Protocol):
    """What can be asked; every answer is plain data, with times in UTC seconds."""

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """``answers``: one per model group; ``at`` None means now. ``first_at`` where only later ones are on record."""

    def request(self, name: str) -> Plain:
        """A request by either of its ids.

        Raises:
            ExactoError: it is not on record.
        """

    def audit(self, **filters: Any) -> Plain:
        """``entries``: newest first; see ``queries.audit``."""

    def tiers(self, model_group: str | None) -> Plain:
        """``model_groups``: as the API gives them, and how the ``store`` does; ``recorded``: numbers may be old."""

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """``model_groups``: see ``explain.report``."""


class ProxySource:
    """A running proxy."""

    def __init__(self, url: str) -> None:
        self._url = url

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """As the proxy sees it; of the past from its store."""
        return request_json(self._url, "why", deployment=deployment, model_group=model_group, at=at)

    def request(self, name: str) -> Plain:
        """As the proxy's store has it."""
        return request_json(self._url, f"decisions/{quote(name, safe='')}")

    def audit(self, **filters: Any) -> Plain:
        """As the proxy's store has it."""
        return request_json(self._url, "audit", **filters)

    def tiers(self, model_group: str | None) -> Plain:
        """Those in force."""
        found = request_json(self._url, "models")
        groups = [one for one in found["model_groups"] if model_group in (None, one["model_group"])]
        return {**found, "model_groups": groups, "store": request_json(self._url, "status").get("store")}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """As the proxy's store has it."""
        return request_json(self._url, "report", since=since, until=until, model_groups=list(model_groups) or None)


class StoreSource:
    """A store, read directly."""

    def __init__(self, place: StoreLocation) -> None:
        self._place = place

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reading(self._place) as connection:
            yield connection

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """As it was last put on record."""
        with self._reading() as connection:
            asked = time.time() if at is None else at
            return views.why_past(connection, deployment, asked, past=at is not None, model_group=model_group)

    def request(self, name: str) -> Plain:
        """As it was put on record.

        Raises:
            ExactoError: it was not.
        """
        with self._reading() as connection:
            found = views.decision(connection, name)
        if found is None:
            raise ExactoError(views.NOT_KEPT.format(name=name))
        return found

    def audit(self, **filters: Any) -> Plain:
        """All that is on record."""
        with self._reading() as connection:
            return {"entries": views.audit(connection, **filters)}

    def tiers(self, model_group: str | None) -> Plain:
        """As they were last put on record."""
        with self._reading() as connection:
            return {"model_groups": views.tiers(connection, time.time(), model_group), "recorded": True}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """From the counts of all workers."""
        with self._reading() as connection:
            return {"model_groups": report(queries.hours(connection, since, until, model_groups))}

    def verify(self, since: float | None, until: float | None) -> Verification:
        """Recompute what is on record."""
        with self._reading() as connection:
            return queries.verify(connection, since, until)


def add_source_options(parser: argparse.ArgumentParser, *, proxy: bool = True) -> None:
    """Add ``--url``, ``--config`` and ``--store``."""
    if proxy:
        add_url(parser, required=False)
    parser.add_argument("--config", metavar="FILE", help="LiteLLM's config.yaml: the store that a proxy with it keeps")
    parser.add_argument("--store", metavar="URL", help="the store itself, as in store.url")


def query(options: argparse.Namespace, question: Callable[[Source], R]) -> R:
    """The answer of the proxy; of the store where no proxy was named, or the named one cannot be asked.

    Raises:
        ExactoError: nobody was named, or nobody can answer.
    """
    url = getattr(options, "url", None)
    place = place_of(options)
    if url is None:
        if place is None:
            raise ExactoError("say where to look: --url PROXY, --config FILE or --store URL")
        return question(StoreSource(place))
    try:
        return question(ProxySource(url))
    except ProxyError as error:
        if place is None or not error.unreachable:
            raise
        sys.stderr.write(f"exacto: {error}; looking at {place.name}\n")
        return question(StoreSource(place))


def place_of(options: argparse.Namespace) -> StoreLocation | None:
    """The store that ``--store`` or ``--config`` name; None without either.

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
