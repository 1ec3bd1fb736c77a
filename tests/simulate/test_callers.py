"""What callers do is not held against providers: hostile keys, and callers with hard tools who name their provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.trace import TIER_NOW
from tests.support.scenarios import traced

if TYPE_CHECKING:
    from exacto_plugin.simulate.scenario import Scenario

HOURS = 8.0
GOOD, BAD = {"verified_good"}, {"deranked"}


def ended(of: Scenario, preset: str) -> tuple[dict[str, set[str]], set[str]]:
    """The tiers of each provider at the end of a short run, over its repetitions; and who was ever deranked."""
    trace = traced(of.model_copy(update={"hours": HOURS}), preset, step_s=300.0)
    last = {
        name: {TIER_NOW[tier] for tier in trace.tiers[-1, :, place].tolist()} for place, name in enumerate(trace.names)
    }
    return last, {trace.names[change.place] for change in trace.changes if change.tier == "deranked"}


def good_hosts(of: Scenario, bad: str) -> dict[str, set[str]]:
    """The verdicts that are right: one bad host, the others verified."""
    return {provider.name: BAD if provider.name == bad else GOOD for provider in of.providers}


def test_a_hostile_caller_does_not_bring_a_host_down() -> None:
    """It fails six times in ten at the host that it names, which is verified with the other good ones."""
    scenario = load_scenario("hostile-caller")
    assert ended(scenario, "adaptive") == (good_hosts(scenario, "host-f"), {"host-f"})


def test_a_hostile_caller_on_all_hosts_hides_nothing() -> None:
    """A third of the traffic fails everywhere: all good hosts but one are verified, none is deranked.

    Without the limit nobody is verified. The one has too few calls: suspects of a group that others carry get little.
    """
    scenario = load_scenario("hostile-caller")
    everywhere = scenario.model_copy(update={"hostile": scenario.hostile.model_copy(update={"provider": None})})
    tiers, deranked = ended(everywhere, "adaptive")
    assert (tiers.pop("host-f"), deranked) == (BAD, {"host-f"})
    assert sum(told != GOOD for told in tiers.values()) <= 1
    unlimited, _ = ended(everywhere, "adaptive,caller_share=1.0")
    assert not any("verified_good" in tiers for tiers in unlimited.values())


def test_hard_tools_at_a_named_host_are_not_its_fault() -> None:
    """Half of the traffic are the hardest requests, all at one good host: it is never deranked, the bad one is."""
    scenario = load_scenario("pinned-hard-tools")
    tiers, deranked = ended(scenario, "adaptive")
    assert deranked == {"host-h"}
    assert tiers["host-a"] == GOOD
