"""The source of a subcommand: a running proxy, or the store itself.

The store also works while the proxy is down. What only one of them needs is imported when it is used.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

from exacto_plugin.audit.names import KnownDeployment
from exacto_plugin.cli.proxy_client import URL_VARIABLE, ProxyError, add_url, request_json
from exacto_plugin.errors import ExactoError
from exacto_plugin.text_tables import busy, write_message

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.audit.verify import Verification
    from exacto_plugin.config.settings import Settings
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

    def known(self) -> list[KnownDeployment]:
        """Return all deployments, with or without a verdict."""


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
        waiting = [one for one in found.get("waiting", ()) if model_group in (None, one["model_group"])]
        status = request_json(self._url, "status")
        more = {"store": status.get("store"), "mode": status.get("mode")}
        return {**found, "model_groups": groups, "waiting": waiting, **more}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """Return the report from the proxy's store."""
        return request_json(self._url, "report", since=since, until=until, model_groups=list(model_groups) or None)

    def known(self) -> list[KnownDeployment]:
        """Return the deployments with a verdict, and those without one yet."""
        return known_of(request_json(self._url, "models"))


def known_of(models: Plain) -> list[KnownDeployment]:
    """Return the deployments in the API's answer about models."""
    judged = [
        KnownDeployment(group["model_group"], one["deployment"], one["provider"])
        for group in models["model_groups"]
        for one in group["deployments"]
    ]
    return judged + [KnownDeployment(**one) for one in models.get("waiting", ())]


class StoreSource:
    """A store, read directly."""

    def __init__(self, location: StoreLocation) -> None:
        self._location = location

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        from exacto_plugin.store.rows import reading

        with busy("reading the store ..."), reading(self._location) as connection:
            yield connection

    def why(self, deployment: str, model_group: str | None, at: float | None) -> Plain:
        """Return the last state on record."""
        from exacto_plugin.audit import views

        with self._reading() as connection:
            moment = time.time() if at is None else at
            return views.why_past(connection, deployment, moment, past=at is not None, model_group=model_group)

    def request(self, name: str) -> Plain:
        """Return a request on record.

        Raises:
            ExactoError: it is not on record.
        """
        from exacto_plugin.audit import views

        with self._reading() as connection:
            found = views.decision(connection, name)
        if found is None:
            raise ExactoError(views.NOT_KEPT.format(name=name))
        return found

    def audit(self, **filters: Any) -> Plain:
        """Return all entries on record."""
        from exacto_plugin.audit import views

        with self._reading() as connection:
            return {"entries": views.audit(connection, **filters)}

    def tiers(self, model_group: str | None) -> Plain:
        """Return the last tiers on record."""
        from exacto_plugin.audit import views

        with self._reading() as connection:
            return {"model_groups": views.tiers(connection, time.time(), model_group), "recorded": True}

    def report(self, since: float, until: float, model_groups: Sequence[str]) -> Plain:
        """Return the report from the counts of all workers."""
        from exacto_plugin.audit.queries import recorded_report

        with self._reading() as connection:
            return {"model_groups": recorded_report(connection, since, until, model_groups)}

    def verify(self, since: float | None, until: float | None) -> Verification:
        """Recompute the results on record."""
        from exacto_plugin.audit import queries

        with self._reading() as connection:
            return queries.verify(connection, since, until)

    def known(self) -> list[KnownDeployment]:
        """Return the deployments on record."""
        from exacto_plugin.audit import queries

        with self._reading() as connection:
            return [KnownDeployment(*names) for names in queries.known_deployments(connection)]


def add_source_options(parser: argparse.ArgumentParser, *, proxy: bool = True) -> None:
    """Add ``--url``, ``--config`` and ``--store``."""
    if proxy:
        add_url(parser, required=False)
    parser.add_argument("--config", metavar="FILE", help="LiteLLM's config.yaml: the store that a proxy with it keeps")
    parser.add_argument(
        "--store", metavar="URL", help="the store itself: sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )


def query(options: argparse.Namespace, question: Callable[[Source], R]) -> R:
    """Query the proxy; the store if no proxy was given or it is unreachable.

    Raises:
        ExactoError: no source was given, or none can answer.
    """
    location = location_of(options)
    url = getattr(options, "url", None) or (os.environ.get(URL_VARIABLE) if location is None else None)
    if not url:
        if location is None:
            raise ExactoError(
                f"no source given: use --url PROXY or set {URL_VARIABLE}, or use --config FILE or --store URL"
            )
        return question(StoreSource(location))
    try:
        return question(ProxySource(url))
    except ProxyError as error:
        if location is None or not error.unreachable:
            raise
        write_message(f"exacto: {error}; the records of {location.name} are read instead")
        return question(StoreSource(location))


def location_of(options: argparse.Namespace) -> StoreLocation | None:
    """Return the store of ``--store`` or ``--config``; None without either.

    Raises:
        SettingsError: the URL or the configuration cannot be used.
    """
    if options.store is None and options.config is None:
        return None
    from exacto_plugin.store.location import default_location, location_of_url

    if options.store is not None:
        return location_of_url(options.store, "--store")
    path = Path(options.config)
    settings = settings_of_config(path)
    if settings.store.url is not None:
        return location_of_url(settings.store.url.get_secret_value())
    return default_location(str(path), os.environ)


def named_location(options: argparse.Namespace) -> StoreLocation:
    """Return the store of ``--store`` or ``--config``.

    Raises:
        ExactoError: neither is given.
        SettingsError: the URL or the configuration cannot be used.
    """
    location = location_of(options)
    if location is None:
        asked = getattr(options, "url", None) or os.environ.get(URL_VARIABLE)
        why = " (a running proxy cannot give this; it reads the store itself)" if asked else ""
        raise ExactoError(f"no store given: use --config FILE or --store URL{why}")
    return location


def settings_of_config(path: Path) -> Settings:
    """Return the settings of a proxy with a ``config.yaml``.

    ``EXACTO_CONFIG`` names another file of them.

    Raises:
        SettingsError: a file cannot be used.
    """
    from exacto_plugin.config.settings import BLOCK, Settings
    from exacto_plugin.config.sources import CONFIG_VARIABLE, read_config, settings_of_file

    named = os.environ.get(CONFIG_VARIABLE)
    has_block = BLOCK in read_config(path)
    return settings_of_file(Path(named) if named else path, os.environ) if named or has_block else Settings()
