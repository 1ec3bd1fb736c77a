"""``exacto curate``: proposes curated lists from measurements, and checks them.

Reads the API of a running proxy and evaluates plain data; changes nothing. The criteria are OpenRouter's for its first
lists: tool-call accuracy, a normal share of answers with tool calls, and the providers that callers with tools pin and
ignore.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import yaml

from exacto_plugin.audit.formatting import name_of, percent, values_apart
from exacto_plugin.audit.names import display_names, resolve_group
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.proxy_client import ProxyError, add_url, request_json
from exacto_plugin.cli.source import known_of
from exacto_plugin.cli.tiers import tier_word
from exacto_plugin.core.routing.filters import same_provider
from exacto_plugin.terminal import json_text, printable, write_text
from exacto_plugin.text_tables import PlainTable, render_tables, terminal_width

if TYPE_CHECKING:
    import argparse

Deployment = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria that a deployment must meet."""

    min_calls: int = 200
    """Answers with tool calls that accuracy needs; as many as the published rule uses."""
    propensity_ratio: float = 1.5
    """Least ratio of the odds of a tool call to the others' median that is unusual.

    In either direction. Measured with 1.5 and 3 deviations: 3 of 7 known poor deployments found, no false ones."""
    propensity_deviations: float = 3.0
    """Standard deviations (1.4826 MAD) of the log-odds from that median."""
    propensity_requests: int = 50
    """Requests with tools that a share of answers with tool calls needs."""
    max_ignored: float = 0.05
    """Least share of ignoring keys, of the distinct keys that call tools, to fail."""


_PEERS = 3
"""Other deployments needed to call a propensity unusual, as in the adaptive rule."""

_PHI = 2.0
"""Assumed design effect of clustered answers; the adaptive rule starts there too.

Turns of one conversation are alike."""


@dataclass(frozen=True, slots=True)
class ListingCandidate:
    """The evaluation of one deployment by the criteria."""

    deployment: str
    provider: str
    tier: str
    success: float | None
    calls: int
    propensity: float | None
    ignored_by: int
    pinned_by: int
    against: tuple[str, ...]
    """Failed criteria."""
    missing: tuple[str, ...]
    """Criteria without enough evidence."""

    @property
    def qualifies(self) -> bool:
        """True if all criteria are met."""
        return not self.against and not self.missing


@dataclass(frozen=True, slots=True)
class ListProposal:
    """One model group."""

    model_group: str
    keys: int
    """Distinct keys that call tools."""
    findings: tuple[ListingCandidate, ...]
    proposed: tuple[str, ...]
    """Providers of which all deployments qualify, and ids of other qualifying ones."""
    configured: tuple[str, ...]
    broken: tuple[str, ...]
    """Reasons for which the configured list no longer holds."""
    unproven: tuple[str, ...]
    """Entries of the configured list without enough evidence."""


def propose(group: Mapping[str, Any], criteria: Criteria) -> ListProposal:
    """Evaluate one model group.

    Args:
        group: as ``/exacto/api/models`` returns it.
        criteria: to be met.
    """
    deployments: Sequence[Deployment] = group["deployments"]
    unusual = _unusual(deployments, criteria)
    keys = int(group["tool_keys"])
    findings = tuple(_finding(one, unusual.get(one["deployment"]), keys, criteria) for one in deployments)
    configured = tuple(group["curated"] or ())
    broken, unproven = _checked(configured, findings)
    return ListProposal(group["model_group"], keys, findings, _names(findings), configured, broken, unproven)


def _signal(deployment: Deployment, name: str) -> tuple[float | None, int]:
    found = deployment["signals"].get(name) or {}
    return found.get("value"), int(found.get("samples") or 0)


def _finding(deployment: Deployment, unusual: str | None, keys: int, criteria: Criteria) -> ListingCandidate:
    success, calls = _signal(deployment, "tool_call_success")
    propensity, _ = _signal(deployment, "propensity")
    choices = deployment["choices"]
    ignored = int(choices["ignored_by"])
    against = [
        f"{name_of(reason['signal'])} "
        + " against ".join(values_apart(reason["signal"], reason["value"], reason["threshold"]))
        for reason in deployment["reasons"]
        if reason["code"] == "below_threshold" and reason["signal"] in ("tool_call_success", "benchmark")
    ]
    missing = []
    # An override is temporary and no evidence, for or against.
    tier = str((deployment.get("override") or {}).get("measured_tier") or deployment["tier"])
    if tier == "deranked" and not against:
        against.append("deranked")
    elif tier == "insufficient_data":
        missing.append("not verified good")
    if calls < criteria.min_calls:
        missing.append(f"{calls} of {criteria.min_calls} answers with tool calls")
    if unusual is not None:
        against.append(unusual)
    if ignored and ignored >= criteria.max_ignored * keys:
        against.append(f"ignored by {ignored} of {keys} keys")
    return ListingCandidate(
        deployment["deployment"],
        deployment["provider"],
        tier,
        success,
        calls,
        propensity,
        ignored,
        int(choices["pinned_by"]),
        tuple(against),
        tuple(missing),
    )


def _unusual(deployments: Sequence[Deployment], criteria: Criteria) -> dict[str, str]:
    """Return deployments with an unusual propensity to call tools, with the reason.

    Log-odds against the median of the others, two-sided, after three standard errors are subtracted; none where fewer
    than three others can be compared with.
    """
    odds: dict[str, tuple[float, float, float]] = {}
    for one in deployments:
        share, offered = _signal(one, "propensity")
        if share is not None and offered >= criteria.propensity_requests:
            called = share * offered
            log_odds = math.log((called + 0.5) / (offered - called + 0.5))
            error = 3 * math.sqrt(_PHI * (1 / (called + 0.5) + 1 / (offered - called + 0.5)))
            odds[one["deployment"]] = (log_odds, error, share)
    found = {}
    for name, (own, error, share) in odds.items():
        others = [log_odds for other, (log_odds, _, _) in odds.items() if other != name]
        if len(others) < _PEERS:
            continue
        median = statistics.median(others)
        deviation = 1.4826 * statistics.median(abs(other - median) for other in others)
        margin = max(criteria.propensity_deviations * deviation, math.log(criteria.propensity_ratio))
        if abs(own - median) - error > margin:
            usual = 1 / (1 + math.exp(-median))
            found[name] = f"calls tools in {share:.0%} of answers, the others in {usual:.0%}"
    return found


def _names(findings: Sequence[ListingCandidate]) -> tuple[str, ...]:
    listed: list[str] = []
    for finding in findings:
        if finding.qualifies:
            whole = finding.provider and all(
                other.qualifies for other in findings if same_provider(finding.provider, other.provider)
            )
            listed.append(finding.provider if whole else finding.deployment)
    return tuple(dict.fromkeys(listed))


def _checked(
    configured: Sequence[str], findings: Sequence[ListingCandidate]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    broken: list[str] = []
    unproven: list[str] = []
    for entry in configured:
        meant = [f for f in findings if entry == f.deployment or same_provider(entry, f.provider)]
        if not meant:
            broken.append(f"{entry}: names no deployment")
        for finding in meant:
            who = entry if entry == finding.deployment else f"{entry} ({finding.deployment})"
            if finding.against:
                broken.append(f"{who}: {'; '.join(finding.against)}")
            elif finding.missing:
                unproven.append(f"{who}: {'; '.join(finding.missing)}")
    return tuple(broken), tuple(unproven)


def block(proposals: Sequence[ListProposal]) -> dict[str, Any]:
    """Return the settings of the proposals; empty without any."""
    curated = {one.model_group: list(one.proposed) for one in proposals if one.proposed}
    return {"exacto_settings": {"curated": curated}} if curated else {}


def as_dict(proposals: Sequence[ListProposal]) -> dict[str, Any]:
    """Return plain data for ``--json``."""
    return {"model_groups": [asdict(one) for one in proposals], **block(proposals)}


def render(proposals: Sequence[ListProposal], *, check: bool) -> str:
    """Format the evidence as YAML comments, and the settings to paste below it.

    With ``check``, the state of the configured lists instead.
    """
    lines: list[str] = []
    for one in proposals:
        lines += [f"# {line}".rstrip() for line in _evidence(one).splitlines()]
        if check:
            lines += [f"# no longer holds: {printable(line)}" for line in one.broken]
            lines += [f"# not shown yet: {printable(line)}" for line in one.unproven]
            held = one.configured and not one.broken
            lines += [printable(f"# the configured list holds: {', '.join(one.configured)}")] if held else []
            lines += [] if one.configured else ["# no list is configured"]
        lines.append("#")
    if not check:
        found = block(proposals)
        lines.append(yaml.safe_dump(found, sort_keys=False).rstrip() if found else "# Nothing qualifies.")
    return "\n".join(lines)


def _evidence(proposal: ListProposal) -> str:
    names = display_names([f.deployment for f in proposal.findings])
    chosen = any(f.ignored_by or f.pinned_by for f in proposal.findings)
    table = PlainTable()
    table.add_column("deployment", overflow="fold", min_width=10)
    table.add_column("tier", min_width=12)
    for name in ("success", "calls", "tools", *(("ignored", "pinned") if chosen else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=10)
    for f in proposal.findings:
        verdict = "qualifies" if f.qualifies else "; ".join((*f.against, *f.missing))
        success = "" if f.success is None else percent(f.success)
        propensity = "" if f.propensity is None else f"{f.propensity:.0%}"
        numbers = (success, f"{f.calls:,}", propensity, *((f.ignored_by, f.pinned_by) if chosen else ()))
        table.add_row(names[f.deployment], tier_word(f.tier), *map(str, numbers), verdict)
    # Two columns for the mark of a comment.
    text = render_tables(table, width=max(40, terminal_width() - 2))
    keys = "1 key calls" if proposal.keys == 1 else f"{proposal.keys} keys call"
    return f"{printable(proposal.model_group)}: {keys} tools\n{text}"


def add_curate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    standard = Criteria()
    add_url(parser)
    parser.add_argument("--model", action="extend", nargs="+", metavar="GROUP", help="only these model groups")
    parser.add_argument(
        "--check", action="store_true", help="check the configured lists (status 1: one no longer holds)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and YAML")
    criteria = parser.add_argument_group("criteria")
    for flag, kind, default, words in (
        ("--min-calls", int, standard.min_calls, "least answers with tool calls"),
        (
            "--propensity-ratio",
            float,
            standard.propensity_ratio,
            "a deployment calls tools unusually often or seldom from this ratio of odds to the others' median on",
        ),
        (
            "--propensity-deviations",
            float,
            standard.propensity_deviations,
            "and from this many robust standard deviations on",
        ),
        ("--max-ignored", float, standard.max_ignored, "share of the keys that ignore it from which on it fails"),
    ):
        criteria.add_argument(flag, type=kind, default=default, metavar="N", help=f"{words} (default: %(default)s)")
    add_examples(
        parser,
        "exacto curate --url http://localhost:4000 > curated.yaml",
        "exacto curate --check --url http://localhost:4000",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Query, evaluate, print; with ``--check``, return 1 when a list no longer holds.

    Raises:
        ProxyError: there is nothing to evaluate.
    """
    criteria = Criteria(
        min_calls=options.min_calls,
        propensity_ratio=max(1.0, options.propensity_ratio),
        propensity_deviations=options.propensity_deviations,
        max_ignored=options.max_ignored,
    )
    found = request_json(options.url, "models")
    groups = found.get("model_groups", [])
    judged = {group["model_group"] for group in groups}
    for name in options.model or ():
        resolve_group(name, known_of(found))
    wanted = options.model or judged
    unknown = sorted(set(wanted) - judged)
    if unknown or not groups:
        about = f" on {', '.join(unknown)}" if unknown else ""
        raise ProxyError(f"no verdicts{about} yet; `exacto doctor` tells when the next are due")
    proposals = [propose(group, criteria) for group in groups if group["model_group"] in wanted]
    write_text(json_text(as_dict(proposals)) if options.json else render(proposals, check=options.check))
    return 1 if options.check and any(one.broken for one in proposals) else 0
