"""The subcommands on records: ``why``, ``tiers``, ``audit`` and ``report``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_record_commands(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command."""
    from exacto_plugin.cli.audit import add_audit
    from exacto_plugin.cli.report import add_report
    from exacto_plugin.cli.why import add_tiers, add_why

    add_tiers(verbs.add_parser("tiers", help="the tiers of all deployments, and the number behind each"))
    add_why(verbs.add_parser("why", help="why a deployment has its tier, now or then, or where a request went"))
    add_audit(verbs.add_parser("audit", help="changes over time; `audit verify` recomputes and compares"))
    add_report(verbs.add_parser("report", help="what tiers change in picks, bad calls and spend, or would change"))
