"""``exacto tiers``: the tier of every deployment, by model group."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.audit.formatting import duration, flaw_words, moment, observed_words, suspicion, value
from exacto_plugin.audit.names import display_names, resolve_group
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.source import Source, add_source_options, query
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.filters import same_provider
from exacto_plugin.terminal import json_text, printable_data, write_text
from exacto_plugin.text_tables import PlainTable, colored, heading, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.text import Text

TIER_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    Tier.VERIFIED_GOOD: ("verified good", "green"),
    Tier.INSUFFICIENT_DATA: ("insufficient data", "yellow"),
    Tier.DERANKED: ("deranked", "red"),
}
"""Word and colour of each tier, in the order in which deployments are tried."""

_ALONE: Final = "the only deployment: nothing to compare"

_OF_WORD: Final = {tier.value: tier for tier in Tier} | {
    "good": Tier.VERIFIED_GOOD,
    "undecided": Tier.INSUFFICIENT_DATA,
}
"""Tiers by the words that ``--fail-on`` takes; the last two are those of 0.2.0."""

_NONE_CONFIGURED: Final = "No deployment has a verdict yet, and the proxy has none configured."

_NONE_ON_RECORD: Final = (
    "No verdict is on record yet. A running proxy tells when its next ones are due: exacto tiers --url PROXY."
)

_LEAST_BURN: Final = 0.05
"""Difference of output tokens from which it is shown, flagged or not."""

_SHORT: Final[Mapping[str, str]] = {
    ReasonCode.TOO_FEW_PEERS: "fewer than {needed} deployments have enough answers",
    ReasonCode.TOO_FEW_SAMPLES: "{samples:,.0f} of {needed:,} answers",
    ReasonCode.UNDECIDED: "too close to its threshold {threshold}",
    ReasonCode.WITHIN_THRESHOLD: "threshold {threshold}",
    ReasonCode.READMITTED: "fresh calls showed that it works again",
    ReasonCode.EVIDENCE_RESTARTED: "became better; older calls no longer count",
    ReasonCode.CAPACITY: "below its threshold {threshold}; the others could not carry the traffic",
    ReasonCode.BELOW_THRESHOLD: "below its threshold {threshold}",
}


def add_tiers(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tiers``."""
    parser.add_argument("--model", metavar="GROUP", help="only this model group")
    parser.add_argument(
        "--fail-on",
        choices=list(_OF_WORD),
        metavar="TIER",
        help=f"status 1 when a deployment has this tier, for scripts: {', '.join(_OF_WORD)}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_source_options(parser)
    add_examples(
        parser,
        "exacto tiers --url http://localhost:4000",
        "exacto tiers --model kimi --config config.yaml     # from the records",
        "exacto tiers --fail-on deranked || echo 'a provider breaks tool calls'",
    )
    parser.set_defaults(run=run_tiers)


def run_tiers(options: argparse.Namespace) -> int:
    """Query and print; return 1 when a tier of ``--fail-on`` is there, or nothing is.

    Raises:
        ExactoError: there is no such model group.
    """

    def ask(source: Source) -> dict[str, Any]:
        found = source.tiers(options.model)
        if not found["model_groups"] and not found.get("waiting"):
            resolve_group(options.model, source.known())
        return found

    found = query(options, ask)
    if options.json:
        write_text(json_text(found))
    else:
        write_tables(*_tables(printable_data(found)))
    tiers = [one["tier"] for group in found["model_groups"] for one in group["deployments"]]
    tiers += [Tier.INSUFFICIENT_DATA] * len(found.get("waiting", ()))
    return 1 if not tiers or _OF_WORD.get(options.fail_on) in tiers else 0


def _tables(found: Mapping[str, Any]) -> list[RenderableType]:
    waiting: dict[str, list[Mapping[str, Any]]] = {}
    for one in found.get("waiting", ()):
        waiting.setdefault(one["model_group"], []).append(one)
    groups = {group["model_group"]: group["deployments"] for group in found["model_groups"]}
    now = time.time()
    names = sorted({*groups, *waiting})
    parts: list[RenderableType] = []
    for name in names:
        parts += [heading(name), _table(groups.get(name, ()), waiting.get(name, ()), now), ""]
    if not names:
        parts.append(_NONE_ON_RECORD if found.get("recorded") else _NONE_CONFIGURED)
    compared = [one for name in names for one in groups.get(name, ()) if not _is_alone(groups[name], waiting.get(name))]
    notes = [*_unapplied(found, names), *_due(found, now), *_legend(compared), *_dated(found), *store_notes(found)]
    return [*parts, *notes]


def _due(found: Mapping[str, Any], now: float) -> list[str]:
    """Return a note on when deployments without a verdict get one."""
    due = found.get("next_recompute_at")
    if due is None or not found.get("waiting"):
        return []
    return [f"The next verdicts are due {'now' if due <= now else f'in {duration(due - now)}'}."]


def _unapplied(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a note on model groups whose tiers are not applied; records do not tell."""
    modes = {group["model_group"]: group.get("mode") for group in found["model_groups"]}
    modes = {name: modes.get(name) or found.get("mode") for name in names}
    notes = []
    for mode, words in (("observe", "decided and not applied"), ("off", "not applied")):
        there = [name for name, one in modes.items() if one == mode]
        where = "" if len(there) == len(names) else f" for {', '.join(there)}"
        notes += [f"Tiers are {words}: mode {mode}{where}."] if there else []
    return notes


def _is_alone(judged: Sequence[object], waiting: Sequence[object] | None) -> bool:
    return len(judged) + len(waiting or ()) == 1


def _legend(deployments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the numbers of the last column are, as far as there are any."""
    notes = []
    if any(flaw_words(one.get("flaws")) for one in deployments):
        notes.append(
            "Kinds of bad answers are counted since the proxy's start; success and calls are those of the verdict, so"
            " they may be fewer."
        )
    if any("tokens" in _observed(one) for one in deployments):
        notes.append("tokens: output tokens beside the median of the others on like requests; ! far more.")
    return notes


def _table(
    judged: Sequence[Mapping[str, Any]],
    waiting: Sequence[Mapping[str, Any]],
    now: float,
) -> PlainTable:
    shown = display_names([one["deployment"] for one in (*judged, *waiting)])
    # The column takes no room where every name tells its provider.
    providers = any(not _tells_provider(shown[one["deployment"]], one["provider"]) for one in (*judged, *waiting))
    table = PlainTable()
    table.add_column("deployment", overflow="fold", min_width=10)
    if providers:
        table.add_column("provider", overflow="fold")
    table.add_column("tier", min_width=12)
    table.add_column("for", no_wrap=True)
    for name in ("success", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=16)
    order = list(TIER_WORDS)
    for one in sorted(judged, key=lambda one: (order.index(one["tier"]), shown[one["deployment"]])):
        calls = one["signals"].get(Signal.TOOL_CALL_SUCCESS) or {"value": None, "samples": 0}
        success = "-" if calls["value"] is None else value(Signal.TOOL_CALL_SUCCESS, calls["value"])
        since = duration(now - one["since"]) if one["since"] else "-"
        cells = [shown[one["deployment"]], *([one["provider"] or "-"] if providers else [])]
        why = _ALONE if _is_alone(judged, waiting) and not one.get("override") else _why(one)
        table.add_row(*cells, tier_word(one["tier"]), since, success, f"{calls['samples']:,.0f}", why)
    for one in sorted(waiting, key=lambda one: shown[one["deployment"]]):
        cells = [shown[one["deployment"]], *([one["provider"] or "-"] if providers else [])]
        table.add_row(*cells, tier_word(Tier.INSUFFICIENT_DATA), "-", "-", "-", "no verdict yet")
    return table


def _tells_provider(name: str, provider: str) -> bool:
    parts = re.split(r"[^a-z0-9]+", name.lower())
    return not provider or same_provider(name, provider) or provider.lower() in parts


def tier_word(tier: str) -> Text:
    """Return the word of a tier in its colour."""
    word, style = TIER_WORDS.get(tier, (tier, ""))
    return colored(word, style)


def _why(one: Mapping[str, Any]) -> str:
    """Return the reason, the flaws and what is observed, in a few words."""
    words = [short_reason(one), flaw_words(one.get("flaws")), _observed(one)]
    return "; ".join(word for word in words if word)


def _observed(one: Mapping[str, Any]) -> str:
    """Return what is observed, in a few words; differences of tokens from 5 % on."""
    numbers = one.get("observed")
    burn = numbers["token_burn"] if numbers else None
    if burn is not None and burn["value"] is not None and abs(burn["value"]) < _LEAST_BURN and not burn["flagged"]:
        numbers = {**numbers, "token_burn": {**burn, "value": None}} if numbers else None
    words = observed_words(numbers)
    return "" if words == "-" else words


def short_reason(one: Mapping[str, Any]) -> str:
    """Return the reason in a few words."""
    if one.get("override"):
        return f"override: {one['override']['reason']}"
    reasons = one["reasons"]
    below = [reason for reason in reasons if reason["code"] == ReasonCode.BELOW_THRESHOLD]
    calls = [reason for reason in reasons if reason["signal"] == Signal.TOOL_CALL_SUCCESS]
    deciding = next(iter((below if one["tier"] == Tier.DERANKED else []) or calls or reasons), None)
    if deciding is None:
        return ""
    if deciding["code"] == ReasonCode.PROBABLY_BAD:
        return suspicion(deciding)
    words = _SHORT.get(deciding["code"], str(deciding["code"]).replace("_", " "))
    limit = value(deciding["signal"], deciding.get("threshold"))
    text = words.format(**{**deciding, "threshold": limit})
    if deciding["code"] == ReasonCode.BELOW_THRESHOLD and deciding["signal"] != Signal.TOOL_CALL_SUCCESS:
        text = f"{value(deciding['signal'], deciding['value'])}, {text}"
    return text


def _dated(found: Mapping[str, Any]) -> list[str]:
    """Return a note on the age of recorded numbers."""
    times = [one["at"] for group in found["model_groups"] for one in group["deployments"] if found.get("recorded")]
    if not times:
        return []
    first, last = moment(min(times)), moment(max(times))
    when = f"of {first}" if first == last else f"of {first} to {last}"
    return [
        f"The numbers are {when}: each deployment's are put on record when its tier or a reason changes, and once an"
        " hour. A running proxy (--url) knows those of now."
    ]


def store_notes(found: Mapping[str, Any]) -> list[str]:
    """Return a note on the store's fault, if it has one."""
    store = found.get("store")
    if not store or store.get("state") in (None, "ok", "off"):
        return []
    if store["state"] == "memory":
        return ["The store is in memory: records end with the proxy."]
    return [f"The store is {store['state']}: {store['message']}; {store['remedy']}."]
