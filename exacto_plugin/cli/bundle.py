"""``exacto bundle``: a file for the provider of a deployment."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import queries
from exacto_plugin.audit.formatting import moment, percent
from exacto_plugin.audit.names import KnownDeployment, resolve_deployments
from exacto_plugin.audit.provider_bundle import bundle
from exacto_plugin.cli.arguments import add_examples, past_of
from exacto_plugin.cli.proxy_client import ProxyError, request_json
from exacto_plugin.cli.source import add_source_options, named_location
from exacto_plugin.config.sources import read_config
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.rows import reading
from exacto_plugin.terminal import json_text, write_text
from exacto_plugin.text_tables import busy, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

_WEEK_S = 7 * 86_400.0
_NO_ROUTE = "Not Found"
"""The answer of a proxy whose version of the plugin keeps no bad answers."""


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its name as `tiers` shows it, its id or its provider")
    parser.add_argument("--since", type=past_of, metavar="TIME", help="or how long ago (default: 7d); whole hours")
    parser.add_argument("--model", metavar="GROUP", help="only in this model group")
    parser.add_argument("--output", metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--url", metavar="PROXY", help="a running proxy, beside --config or --store: for its latest bad answers"
    )
    add_source_options(parser, proxy=False)
    add_examples(
        parser,
        "exacto bundle novita --config config.yaml --since 7d",
        "exacto bundle novita --store URL --output bundle.json",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the store and write the bundle.

    Raises:
        ExactoError: there is no store, or it has nothing of the deployment.
    """
    now = time.time()
    since = now - _WEEK_S if options.since is None else options.since
    location = named_location(options)
    with busy("reading the store ..."), reading(location) as connection:
        deployment = _key(connection, options.deployment, options.model)
        made = bundle(
            connection,
            deployment,
            since,
            now,
            models=_models(options.config, deployment),
            failures=partial(_failures, options.url, deployment),
            pairs=partial(_pairs, options.url, deployment),
            model_group=options.model,
        )
    if not made["model_groups"]:
        raise ExactoError(f"nothing of {options.deployment!r} is on record since {moment(since)}")
    if options.output is None:
        write_text(json_text(made))
        return 0
    Path(options.output).write_text(f"{json_text(made)}\n", encoding="utf-8")
    write_tables(*(_line(one, options.output) for one in made["model_groups"]))
    return 0


def _key(connection: Connection, name: str, model_group: str | None) -> str:
    """Return the deployment on record that a name means.

    Raises:
        ExactoError: there is none, or several.
    """
    known = [KnownDeployment(*names) for names in queries.known_deployments(connection)]
    keys = resolve_deployments(name, known, model_group)
    if len(keys) > 1:
        raise ExactoError(f"{name!r} means {', '.join(keys)}; name one of them")
    return keys[0]


def _failures(url: str | None, deployment: str, model_group: str) -> Sequence[Mapping[str, Any]]:
    """Return the latest bad answers that a proxy saw.

    A proxy with an older version of the plugin keeps none.
    """
    if url is None:
        return ()
    try:
        found = request_json(url, "failures", model_group=model_group, deployment=deployment)
    except ProxyError as error:
        if str(error) == _NO_ROUTE:
            return ()
        raise
    answers: Sequence[Mapping[str, Any]] = found["failures"]
    return answers


def _pairs(url: str | None, deployment: str, model_group: str) -> Sequence[Mapping[str, Any]]:
    """Return comparisons with other deployments that a proxy made.

    A proxy with an older version of the plugin makes none.
    """
    if url is None:
        return ()
    found = request_json(url, "why", model_group=model_group, deployment=deployment)["answers"]
    return [pair for answer in found for pair in answer.get("pairs") or ()]


def _models(config: str | None, deployment: str) -> dict[str, str]:
    """Return model group -> the provider's id of the model, as configured."""
    if config is None:
        return {}
    # LiteLLM fetches its price list when it is imported; no price is needed here.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from exacto_plugin.litellm_hooks.checks.model_list import models_of

    return models_of(read_config(Path(config)), deployment)


def _line(found: Mapping[str, Any], file: str) -> str:
    own, peers = found["rate"], found["peers"]
    share = "no answers" if own is None else f"{percent(own['value'])} bad of {found['answers']:,.0f} answers"
    return f"{file}: {found['model_group']}: {share}, {len(peers)} peers without names"
