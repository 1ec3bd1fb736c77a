"""Reads a LiteLLM ``config.yaml`` as the plugin does, and reports its problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin.config.messages import kind_of, nearest, safe_value, step_of
from exacto_plugin.config.sources import find_settings, read_config
from exacto_plugin.core.routing.filters import blocking_filters, matches, providers_of, unpriced
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.request.caller_config import caller_problems
from exacto_plugin.litellm_hooks.sdk import proxy_features
from exacto_plugin.terminal import printable
from exacto_plugin.text_tables import DataTable, render_tables

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.model import Candidate

CALLBACK = "exacto_plugin.callback"


_DECLARED: Mapping[str, tuple[Callable[[Any], bool], str, Callable[[object], str]]] = {
    "provider": (lambda value: isinstance(value, str), "a text", kind_of),
    "quantization": (lambda value: isinstance(value, str), "a text", kind_of),
    "data_collection": (lambda value: value in ("allow", "deny"), "one of allow, deny", safe_value),
    "zdr": (lambda value: isinstance(value, bool), "true or false", safe_value),
    "supported_parameters": (lambda value: isinstance(value, list), "a list", kind_of),
}
"""Properties that operators declare of a deployment.

For each: the check of its form, and the message for any other form."""


_SET_PRICES = "set input_cost_per_token and output_cost_per_token"
"""Remedy where LiteLLM does not know a price."""


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """One deployment as the plugin reads it."""

    id: str
    provider: str
    price_per_million: float | None
    """USD per million tokens, prompt plus completion; None when unknown."""
    curated: bool


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One model group as the plugin reads it."""

    model_group: str
    mode: str
    default_sort: str
    curated: tuple[str, ...] | None
    deployments: tuple[DeploymentReport, ...]


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

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return asdict(self)


def check_config(path: Path) -> ConfigReport:
    """Check one file.

    Raises:
        SettingsError: the file cannot be read, or its ``exacto_settings`` cannot be used.
    """
    config = read_config(path)
    settings = find_settings(config, os.environ)
    groups = _groups(config, settings)
    preset, features = settings.tiers.preset.value, proxy_features()
    report = ConfigReport(str(path), preset, tuple(groups), features.litellm_version, features.view())
    if CALLBACK not in _callbacks(config):
        report.problems.append(f'litellm_settings.callbacks does not name "{CALLBACK}", so nothing is loaded')
    _entries(config, report.problems)
    if not groups:
        report.problems.append("model_list is empty")
    _check_curated(settings, groups, config, report)
    names = {group.model_group for group in groups}
    report.problems.extend(
        f"exacto_settings.model_groups{step_of(name)}: no such model_name in model_list"
        for name in settings.model_groups
        if name not in names
    )
    _check_filters(settings, config, report)
    report.problems.extend(caller_problems(config))
    _check_declared(config, report)
    for group in groups:
        _check_group(group, settings, report)
    return report


def _callbacks(config: Mapping[str, object]) -> Sequence[str]:
    litellm_settings = config.get("litellm_settings")
    named = litellm_settings.get("callbacks") if isinstance(litellm_settings, Mapping) else None
    return [named] if isinstance(named, str) else list(named) if isinstance(named, list) else []


_ENTRY: Mapping[str, tuple[type, str]] = {
    "model_name": (str, "a text"),
    "litellm_params": (Mapping, "a mapping"),
    "model_info": (Mapping, "a mapping"),
}
"""The parts of an entry of ``model_list`` that are read here."""


def _entries(config: Mapping[str, object], problems: list[str] | None = None) -> list[Mapping[str, Any]]:
    """Return the readable entries of ``model_list``; others go to ``problems``."""
    listed = config.get("model_list")
    found = [] if problems is None else problems
    if not isinstance(listed, list):
        if listed is not None:
            found.append(f"model_list: got {kind_of(listed)}, expected a list")
        return []
    readable = []
    for at, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            found.append(f"model_list[{at}]: got {kind_of(entry)}, expected a mapping")
            continue
        wrong = [
            f"model_list[{at}].{name}: got {kind_of(entry.get(name))}, expected {words}"
            for name, (kind, words) in _ENTRY.items()
            if not isinstance(entry.get(name), kind) and not (name == "model_info" and entry.get(name) is None)
        ]
        found += wrong
        if not wrong:
            readable.append(entry)
    return readable


def _candidates(config: Mapping[str, object]) -> dict[str, list[Candidate]]:
    by_group: dict[str, list[Candidate]] = {}
    for entry in _entries(config):
        by_group.setdefault(entry["model_name"], []).append(candidate_of(entry, entry["model_name"]))
    return by_group


def _groups(config: Mapping[str, object], settings: Settings) -> list[GroupReport]:
    reports = []
    for name, candidates in _candidates(config).items():
        curated = settings.curated_list(name)
        deployments = tuple(
            DeploymentReport(
                c.key,
                c.provider,
                None if c.price is None else c.price * 1e6,
                curated is not None and any(matches(entry, c) for entry in curated),
            )
            for c in candidates
        )
        reports.append(
            GroupReport(name, settings.mode_of(name).value, settings.default_sort_of(name).value, curated, deployments)
        )
    return reports


def _check_curated(
    settings: Settings, groups: Sequence[GroupReport], config: Mapping[str, object], report: ConfigReport
) -> None:
    candidates = _candidates(config)
    for name, entries in settings.curated.items():
        if name not in candidates:
            report.problems.append(f"exacto_settings.curated{step_of(name)}: no such model_name in model_list")
            continue
        for at, entry in enumerate(entries):
            if not any(matches(entry, candidate) for candidate in candidates[name]):
                exist = providers_of(candidates[name])
                report.problems.append(
                    f"exacto_settings.curated{step_of(name)}[{at}]: matches no deployment; providers there:"
                    f" {', '.join(exist)}{nearest(entry, exist)}"
                )


def _check_filters(settings: Settings, config: Mapping[str, object], report: ConfigReport) -> None:
    for name, candidates in _candidates(config).items():
        found = blocking_filters(settings.filters_of(name), candidates)
        if found:
            together = " together with ".join(f"{one.name} ({one.source})" for one in found)
            unknown = ", ".join(one.key for one in unpriced(found, candidates))
            why = f"; the price of {unknown} is not known ({_SET_PRICES})" if unknown else ""
            report.problems.append(f"{name}: no deployment is left by {together}, so every request is refused{why}")


def _check_declared(config: Mapping[str, object], report: ConfigReport) -> None:
    """Report properties in an unknown form; they count as not declared."""
    for entry in _entries(config):
        info = entry.get("model_info") or {}
        written = ((name, info[name], *form) for name, form in _DECLARED.items() if info.get(name) is not None)
        report.problems.extend(
            f"{entry['model_name']}: model_info.{name}: got {words(value)}, expected {expected}"
            for name, value, fits, expected, words in written
            if not fits(value)
        )


def _check_group(group: GroupReport, settings: Settings, report: ConfigReport) -> None:
    name = group.model_group
    unknown = [d.id for d in group.deployments if d.price_per_million is None]
    if unknown:
        report.hints.append(
            f"{name}: no known price for {', '.join(unknown)}: placed last by :floor and price sorts, ruled out by any "
            f"max_price ({_SET_PRICES})"
        )
    if len(group.deployments) == 1:
        report.hints.append(f"{name}: one deployment, so there is nothing to order; its answers are still evaluated")
    elif settings.tiers.preset == "openrouter" and len(group.deployments) < settings.tiers.openrouter.min_peers:
        report.hints.append(
            f"{name}: {len(group.deployments)} deployments; the published rule deranks none below "
            f"{settings.tiers.openrouter.min_peers}"
        )
    keys = [d.id for d in group.deployments]
    for twice in sorted({key for key in keys if keys.count(key) > 1}):
        report.hints.append(
            f"{name}: {keys.count(twice)} deployments share the history of {twice} (same provider, model and host); "
            "set model_info.id to tell them apart"
        )


def render(report: ConfigReport) -> str:
    """Format the report as text for a terminal."""
    table = DataTable(title=f"{report.file} (preset {report.preset})", title_justify="left", show_lines=False)
    for column in ("model group", "mode", "default sort", "deployment", "provider", "$/M tokens", ":exacto"):
        table.add_column(column, overflow="fold")
    for group in report.groups:
        for index, deployment in enumerate(group.deployments):
            head = (group.model_group, group.mode, group.default_sort) if index == 0 else ("", "", "")
            price = "unknown" if deployment.price_per_million is None else f"{deployment.price_per_million:g}"
            curated = "tiers" if group.curated is None else "yes" if deployment.curated else "no"
            table.add_row(*head, deployment.id, deployment.provider, price, curated)
    lines = [
        *_feature_lines(report),
        *(f"problem: {printable(line)}" for line in report.problems),
        *(f"hint: {printable(line)}" for line in report.hints),
    ]
    if not report.problems:
        lines.append("No problems found.")
    return render_tables(table, *lines, width=120)


def _feature_lines(report: ConfigReport) -> list[str]:
    """Return the features that are on, and each one that is off with the reason."""
    on = [name for name, one in report.features.items() if one["on"]]
    off = [f"{name}: off; {one['reason']}; {one['remedy']}" for name, one in report.features.items() if not one["on"]]
    return [f"on with LiteLLM {report.litellm}: {', '.join(on)}", *off]
