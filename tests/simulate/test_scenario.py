"""Scenario files: what they refuse, and that those of the package work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.library import builtin_scenario_names, load_scenario, scenario_text
from exacto_plugin.simulate.scenario import parse_scenario, read_scenario
from exacto_plugin.simulate.world import GroundTruth
from tests.support.scenarios import traced

if TYPE_CHECKING:
    from pathlib import Path

PROVIDERS = [{"name": "a"}, {"name": "b", "error_rate": 0.1}]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"providers": [{"name": "a", "error_rate": 1.5}]}, r"test\.providers\[0\]\.error_rate: got 1\.5"),
        (
            {"providers": PROVIDERS, "request_per_minute": 3},
            r"test\.request_per_minute: unknown key.*requests_per_minute",
        ),
        ({"providers": []}, r"test\.providers"),
        (
            {"providers": [{"name": "a", "cost": 2}]},
            r"test\.providers\[0\]\.cost: unknown key, expected one of name, .*price",
        ),
        (
            {"providers": PROVIDERS, "events": [{"at_h": 1, "kid": "break", "provider": "a"}]},
            r"events\[0\]\.kid: unknown key, expected one of at_h, .*\(did you mean kind\?\)",
        ),
        ({"providers": [{"name": "a"}, {"name": "a"}]}, r"test\.providers: got 'a', expected different names"),
        ({"providers": PROVIDERS, "events": [{"at_h": 1, "kind": "explode", "provider": "a"}]}, r"events\[0\]\.kind"),
        (
            {"providers": PROVIDERS, "events": [{"at_h": 1, "kind": "break", "provider": "z"}]},
            r"test\.events: got 'z', expected providers among a, b",
        ),
        (
            {"providers": PROVIDERS, "events": [{"at_h": 1, "kind": "fix", "provider": "@best"}]},
            r"events\[0\].*'@best'",
        ),
        ({"providers": PROVIDERS, "complexity": {"shares": [1, 1, 0, 0]}}, r"complexity\.shares: got"),
        ({"providers": PROVIDERS, "pinned": {"share": 0.7}, "hostile": {"share": 0.7}}, r"test\.hostile: got 0\.7"),
        ([], "expected a mapping"),
    ],
)
def test_a_wrong_scenario_names_its_key(content: Any, named: str) -> None:
    """A fault is told with the path of the key that it is in."""
    with pytest.raises(SettingsError, match=named):
        parse_scenario(content, "test")


def test_events_repeat() -> None:
    """An event with ``every_h`` happens again until the end, in the order of all times."""
    events = [
        {"at_h": 1, "kind": "change", "provider": "a", "error_rate": 0.2, "every_h": 4},
        {"at_h": 5, "kind": "change", "provider": "a", "error_rate": 0.1},
        {"at_h": 3, "kind": "change", "provider": "a", "error_rate": 0.0, "every_h": 4},
    ]
    found = parse_scenario({"providers": PROVIDERS, "events": events, "hours": 10}, "test").timeline()
    assert [(event.at_h, event.error_rate) for event in found] == [
        (1.0, 0.2),
        (3.0, 0.0),
        (5.0, 0.2),
        (5.0, 0.1),
        (7.0, 0.0),
        (9.0, 0.2),
    ]


def test_a_provider_may_have_its_own_difficulties() -> None:
    """Its own factors replace the scenario's: 0.9 * 1 % + 0.1 * 26 %, capped at 1."""
    content = {
        "complexity": {"shares": [0.9, 0.1, 0, 0], "error_factors": [1, 2, 1, 1]},
        "providers": [
            {"name": "a", "error_rate": 0.01},
            {"name": "b", "error_rate": 0.01, "error_factors": [1, 26, 1, 1]},
            {"name": "c", "error_rate": 0.5, "error_factors": [1, 26, 1, 1]},
        ],
    }
    world = GroundTruth(parse_scenario(content, "test"), 0, 1)
    assert world.failure_rate()[0] == pytest.approx([0.011, 0.035, 0.55])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing files and broken YAML are told by the file's name."""
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        read_scenario(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        read_scenario(tmp_path / "broken.yaml")


def test_an_unknown_name_lists_the_known_ones() -> None:
    """Asking for a scenario that is not there tells which ones are."""
    with pytest.raises(SettingsError, match="glm-5"):
        load_scenario("glm-6")


@pytest.mark.parametrize("name", builtin_scenario_names())
@pytest.mark.parametrize("preset", ["none", "openrouter", "adaptive"])
def test_every_scenario_of_the_package_runs(name: str, preset: str) -> None:
    """Each loads, survives being written and read, and serves its traffic for two hours with all of its events."""
    scenario = load_scenario(name)
    assert scenario.title
    squeezed = [event.model_copy(update={"at_h": event.at_h * 2.0 / scenario.hours}) for event in scenario.events]
    short = scenario.model_copy(update={"hours": 2.0, "measure_from_h": 0.0, "events": tuple(squeezed)})
    trace = traced(short, preset, repetitions=1, step_s=300.0)
    assert trace.picks.sum() > 0
    assert np.isfinite(trace.bad).all()


@pytest.mark.parametrize(
    ("name", "default", "oracle"),
    [
        ("glm-5", 0.082, 0.0097),
        ("glm-4.7", 0.082, 0.0164),
        ("gpt-oss-120b", 0.056, 0.035),
        ("deepseek-v3.2", 0.040, 0.0336),
    ],
)
def test_constructed_populations_are_what_they_claim(name: str, default: float, oracle: float) -> None:
    """Averaged over all hosts and over the good ones, the rates are the published before and after."""
    rates = np.array([provider.error_rate for provider in load_scenario(name).providers])
    assert "CONSTRUCTED" in scenario_text(name)
    assert rates.mean() == pytest.approx(default, abs=2e-4)
    assert rates[rates <= rates.min() + 0.02].mean() == pytest.approx(oracle, abs=2e-4)
