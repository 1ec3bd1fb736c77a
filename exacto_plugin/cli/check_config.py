"""``exacto check-config``: a ``config.yaml`` as read, and its problems."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import percent
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.terminal import json_text, printable, write_text
from exacto_plugin.text_tables import PlainTable, busy, colored, heading, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import RenderableType

    from exacto_plugin.config.settings import Settings


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """One deployment as the plugin reads it."""

    id: str
    provider: str
    price_per_million: float | None
    """USD per million tokens, prompt plus completion; None when unknown."""
    curated: bool
    prompt_per_million: float | None = None
    completion_per_million: float | None = None


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One model group as the plugin reads it."""

    model_group: str
    mode: str
    default_sort: str
    curated: tuple[str, ...] | None
    deployments: tuple[DeploymentReport, ...]
    apply_share: float = 1.0


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """The report of ``exacto check-config``."""

    file: str
    preset: str
    groups: tuple[GroupReport, ...]
    litellm: str
    """Version of the installed LiteLLM."""
    features: Mapping[str, Mapping[str, Any]]
    """Feature -> ``{on, reason, remedy}`` with that LiteLLM, as ``/exacto/api/status`` has it."""
    problems: list[str] = field(default_factory=list)
    """Settings that will not work as written."""
    hints: list[str] = field(default_factory=list)
    """Settings that work, but maybe not as expected."""
    store: str = ""
    """Where records are kept, without a password."""
    rescue: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return asdict(self)


def add_check_config(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="LiteLLM's config.yaml")
    parser.add_argument("--offline", action="store_true", help="do not connect to the store's server and to Redis")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_examples(
        parser,
        "exacto check-config config.yaml",
        "exacto check-config config.yaml --offline      # in CI, without the database",
        "",
        "status 0: no problem; 1: problems; 2: the proxy would not start",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check and print; return 1 when there are problems.

    Raises:
        SettingsError: the proxy would not start with it.
    """
    # LiteLLM fetches its price list when it is imported; a check of a file must not wait for the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with busy("loading LiteLLM ..."):
        report = check_config(Path(options.file), connecting=not options.offline)
    if options.json:
        write_text(json_text(report.as_dict()))
    else:
        write_tables(*render(report))
    return 1 if report.problems else 0


def check_config(path: Path, *, connecting: bool = True) -> ConfigReport:
    """Check one file.

    Args:
        path: of LiteLLM's ``config.yaml``.
        connecting: True to connect to a database server and to Redis.

    Raises:
        SettingsError: the file cannot be read, or its ``exacto_settings`` cannot be used.
    """
    from exacto_plugin.config.sources import find_settings
    from exacto_plugin.litellm_hooks.checks import config_file
    from exacto_plugin.litellm_hooks.checks.services import callback_package_problems, service_problems, store_of
    from exacto_plugin.litellm_hooks.sdk import proxy_features

    config = config_file.read_merged(path)
    settings = find_settings(config, os.environ)
    store = store_of(settings, path)
    groups = _groups(config, settings)
    features = proxy_features()
    problems = config_file.callback_problems(config) + config_file.start_problems(config, settings)
    if not groups and not config.get("model_list"):
        problems.append("model_list is empty" if "model_list" in config else "there is no model_list")
    problems += callback_package_problems(config) + service_problems(settings, store, connecting=connecting)
    hints = _all_hints(config, settings, groups) + _place_hints(in_memory=not store.is_persistent)
    return ConfigReport(
        file=str(path),
        preset=settings.tiers.preset.value,
        groups=tuple(groups),
        litellm=features.litellm_version,
        features=features.view(),
        problems=problems,
        hints=hints,
        store=store.name,
        rescue=settings.rescue.enabled,
    )


def _all_hints(config: Mapping[str, object], settings: Settings, groups: Sequence[GroupReport]) -> list[str]:
    """Return hints on the file, its model groups and the environment."""
    from exacto_plugin.litellm_hooks.checks import config_file
    from exacto_plugin.litellm_hooks.checks.model_list import configured_ids

    own_ids, unset = configured_ids(config), config_file.unset_variables(config)
    return [
        *config_file.unused_block(config),
        *(hint for group in groups for hint in _hints(group, settings, own_ids)),
        *([f"not set in this environment: {', '.join(unset)}"] if unset else ()),
    ]


def _place_hints(*, in_memory: bool) -> list[str]:
    hints = ["the store is in memory: records end with the proxy"] if in_memory else []
    try:
        import_module("litellm.proxy.auth.user_api_key_auth")
    except ImportError as error:
        hints.append(f"LiteLLM's proxy cannot start in this environment ({error}): pip install 'litellm[proxy]'")
    return hints


def _groups(config: Mapping[str, object], settings: Settings) -> list[GroupReport]:
    from exacto_plugin.core.routing.filters import matches
    from exacto_plugin.litellm_hooks.checks.model_list import candidates_of

    reports = []
    for name, candidates in candidates_of(config).items():
        curated = settings.curated_list(name)
        deployments = tuple(
            DeploymentReport(
                c.key,
                c.provider,
                _per_million(c.price),
                curated is not None and any(matches(entry, c) for entry in curated),
                _per_million(c.prompt_price),
                _per_million(c.completion_price),
            )
            for c in candidates
        )
        mode, sort = settings.mode_of(name).value, settings.default_sort_of(name).value
        reports.append(GroupReport(name, mode, sort, curated, deployments, settings.apply_share_of(name)))
    return reports


def _per_million(price: float | None) -> float | None:
    return None if price is None else price * 1e6


def _hints(group: GroupReport, settings: Settings, configured: Collection[str]) -> list[str]:
    """Return hints on a model group; ids of ``configured`` are the operator's own."""
    from exacto_plugin.litellm_hooks.checks.model_list import SET_PRICES

    name, many = group.model_group, len(group.deployments)
    hints = []
    unknown = [d.id for d in group.deployments if d.price_per_million is None]
    if unknown and many > 1:
        hints.append(
            f"{name}: no known price for {', '.join(unknown)}: placed last by :floor and price sorts, ruled out by any "
            f"max_price ({SET_PRICES})"
        )
    if many == 1:
        hints.append(f"{name}: one deployment, so there is nothing to order; its answers are still evaluated")
    elif settings.tiers.preset == "openrouter" and many < settings.tiers.openrouter.min_peers:
        hints.append(
            f"{name}: {many} deployments; the published rule deranks none below {settings.tiers.openrouter.min_peers}"
        )
    generated = [d.id for d in group.deployments if d.id not in configured]
    return hints + [
        f"{name}: {generated.count(twice)} deployments share the history of {twice} (same provider, model and host); "
        "set model_info.id to tell them apart"
        for twice in sorted({key for key in generated if generated.count(key) > 1})
    ]


def render(report: ConfigReport) -> list[RenderableType]:
    """Return the report for a terminal: one table for each model group."""
    parts: list[RenderableType] = [
        f"{printable(report.file)}: preset {report.preset}, rescue {'on' if report.rescue else 'off'}, store"
        f" {printable(report.store)}",
        *_feature_lines(report),
        "",
    ]
    for group in report.groups:
        parts += [
            heading(f"{group.model_group}: mode {group.mode}{_share(group)}, default sort {group.default_sort}"),
            _table(group),
            "",
        ]
    parts += [colored(f"problem: {line}", "red") for line in report.problems]
    parts += [colored(f"hint: {line}", "yellow") for line in report.hints]
    if not report.problems:
        parts.append(colored("No problems found.", "green"))
    return parts


def _share(group: GroupReport) -> str:
    """Return the share of conversations that tiers apply to; empty for all."""
    return f" to {percent(group.apply_share)} of the conversations" if group.apply_share < 1 else ""


def _table(group: GroupReport) -> PlainTable:
    table = PlainTable()
    for name in ("deployment", "provider"):
        table.add_column(name, overflow="fold")
    table.add_column("$/M prompt", justify="right")
    table.add_column("$/M completion", justify="right")
    if group.curated is not None:
        table.add_column(":exacto")
    for one in group.deployments:
        cells = [one.id, one.provider, _price(one.prompt_per_million), _price(one.completion_per_million)]
        table.add_row(*cells, *(["yes" if one.curated else "no"] if group.curated is not None else []))
    return table


def _price(per_million: float | None) -> str:
    return "unknown" if per_million is None else f"{per_million:g}"


def _feature_lines(report: ConfigReport) -> list[str]:
    """Return the features that are on, and each one that is off with the reason."""
    on = [name for name, one in report.features.items() if one["on"]]
    off = [f"{name}: off; {one['reason']}; {one['remedy']}" for name, one in report.features.items() if not one["on"]]
    return [f"on with LiteLLM {report.litellm}: {', '.join(on)}", *off]
