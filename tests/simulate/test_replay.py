"""Replaying a log: the same tiers as when it was recorded, and faults told by line and key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.replay import LogWriter, MembersEntry, Rates, Replay, read_log
from exacto_plugin.simulate.run import START, RunConfig, SampleWriter, run_together
from tests.support.scenarios import scenario

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [
    {"at_h": 1.0, "kind": "break", "provider": "good", "error_rate": 0.5},
    {"at_h": 1.5, "kind": "newcomer", "provider": "late", "error_rate": 0.0, "price": 1.0},
]
GROUP = "model/0"


def sample(deployment: str, at: float, outcome: Outcome | None = Outcome.VALID) -> Sample:
    """One answer to a request with tools."""
    return Sample("g", DeploymentKey(deployment), at, tools_offered=True, outcome=outcome)


@pytest.mark.parametrize("preset", ["openrouter", "adaptive"])
def test_replay_equals_the_simulation_that_was_recorded(preset: str, tmp_path: Path) -> None:
    """Every change of tier comes again at the same time, and the expected picks are those that were made."""
    file = tmp_path / "log.jsonl"
    with file.open("w", encoding="utf-8") as out:
        writer = LogWriter(out)
        listener = SampleWriter(writer.roster, writer.sample)
        content = scenario(events=EVENTS, hours=3.0)
        (trace,) = run_together([content], preset_named(preset), RunConfig(0, 1), listener)
    rates = Rates(read_log(file))
    replay = Replay(preset_named(preset), rates)
    replay.go(read_log(file))
    outcome = replay.groups[GROUP]
    changes = [(c.deployment, (c.at - START) / 3600.0, c.previous, c.tier) for c in outcome.transitions]
    assert changes == [(trace.names[c.place], c.at_h, c.previous, c.tier) for c in trace.changes]
    assert changes
    picks = trace.picks.sum(axis=(0, 1))
    for place, name in enumerate(trace.names):
        assert outcome.picks.get(name, 0.0) == pytest.approx(picks[place], abs=5.0 * picks[place] ** 0.5 + 5.0)
    observed = rates.observed[GROUP]
    assert outcome.bad == pytest.approx(observed.failed, rel=0.2)


def test_a_sample_survives_being_written_and_read(tmp_path: Path) -> None:
    """Reading a log gives the samples and rosters that were written."""
    written = [
        Sample(
            "g",
            DeploymentKey("a"),
            1.0,
            tools_offered=True,
            outcome=Outcome.UNKNOWN_NAME,
            streamed=True,
            first_token_s=0.2,
        ),
        Sample("g", DeploymentKey("b"), 2.0, ok=False, routed=False, caller="x", complexity=3, lost=True, probe=True),
    ]
    file = tmp_path / "log.jsonl"
    with file.open("w", encoding="utf-8") as out:
        writer = LogWriter(out)
        writer.roster("g", {DeploymentKey("a"): 1e-6, DeploymentKey("b"): None}, 0.5)
        for one in written:
            writer.sample(one)
    roster = MembersEntry(model_group="g", at=0.5, deployments={DeploymentKey("a"): 1e-6, DeploymentKey("b"): None})
    assert list(read_log(file)) == [roster, *written]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", r"log:2: not JSON"),
        ("[]", r"log:2\.type"),
        ('{"type": "event"}', r"log:2\.type"),
        ('{"model_group": "g", "deployment": "a"}', r"log:2\.at"),
        ('{"model_group": "g", "deployment": "a", "at": "soon"}', r"log:2\.at"),
        ('{"model_group": "g", "deployment": "a", "at": 2, "prompt": "x"}', r"log:2\.prompt: unknown key"),
        ('{"model_group": "g", "deployment": "a", "at": 2, "outcome": "fine"}', r"log:2\.outcome"),
        ('{"model_group": "g", "deployment": "a", "at": 0}', r"log:2\.at: got 0"),
        ('{"type": "roster", "model_group": "g", "at": 2, "deployments": 3}', r"log:2\.deployments"),
    ],
)
def test_a_wrong_line_is_named(line: str, named: str, tmp_path: Path) -> None:
    """A fault is told with file, line and key."""
    file = tmp_path / "log"
    file.write_text(f'{{"model_group": "g", "deployment": "a", "at": 1.0}}\n{line}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=named):
        list(read_log(file))


def test_bad_calls_by_hand() -> None:
    """Without tiers and prices, requests are spread evenly and fail at the log's own rates."""
    outcomes = [Outcome.VALID] * 3 + [Outcome.SCHEMA_MISMATCH]
    log = [sample("a", 10.0 * n) for n in range(80)] + [sample("b", 800.0 + n, outcomes[n % 4]) for n in range(20)]
    rates = Rates(log)
    replay = Replay(preset_named("none"), rates)
    replay.go(
        [MembersEntry(model_group="g", at=0.0, deployments={DeploymentKey("a"): None, DeploymentKey("b"): None}), *log]
    )
    outcome = replay.groups["g"]
    assert outcome.picks == pytest.approx({"a": 50.0, "b": 50.0})
    assert outcome.bad == pytest.approx(50.0 * 0.25)
    assert (rates.observed["g"].failed, rates.observed["g"].attempted) == (5.0, 100.0)


def test_deployments_serve_from_their_first_sample_on() -> None:
    """Without rosters, a deployment gets its part of the traffic once it has been seen."""
    log = [sample("a", float(n)) for n in range(100)] + [sample("b", 900.0 + n) for n in range(100)]
    replay = Replay(preset_named("none"), Rates(log))
    replay.go(log)
    assert replay.groups["g"].picks == pytest.approx({"a": 150.0, "b": 50.0}, abs=1.0)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario is simulated and recorded, its log replayed, and both printed as tables and as JSON."""
    log = tmp_path / "log.jsonl"
    fast = ["--hours", "1", "--rpm", "20", "--reps", "2"]
    assert main(["simulate", "three-deployments", *fast, "--preset", "adaptive", "--record", str(log)]) == 0
    shown = capsys.readouterr().out
    assert "against the default" in shown
    assert "bad calls over time" in shown
    assert main(["simulate", "three-deployments", *fast, "--json", "--preset", "none", "adaptive,peer_cap=0.03"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["presets"]) == {"none", "adaptive,peer_cap=0.03"}
    assert report["presets"]["none"]["cost_ratio"]["mean"] == pytest.approx(1.0, abs=0.1)
    assert main(["replay", str(log)]) == 0
    assert "picks: bad" in capsys.readouterr().out
    assert main(["replay", str(log), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"three-deployments/0", "three-deployments/1"}


def test_presets_after_one_flag_or_several(capsys: pytest.CaptureFixture[str]) -> None:
    """A repeated flag adds to the ones before, and a preset that is named twice runs once."""
    fast = ["simulate", "three-deployments", "--hours", "1", "--rpm", "20", "--reps", "2", "--json"]
    for flags in (["--preset", "none", "openrouter"], ["--preset", "none", "--preset", "openrouter", "none"]):
        assert main([*fast, *flags]) == 0
        assert list(json.loads(capsys.readouterr().out)["presets"]) == ["none", "openrouter"]


def test_the_command_line_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown scenarios, presets and keys of a rule end with status 2 and their name; --list and --show help."""
    for wrong, named in (
        (["simulate", "nowhere"], "nowhere"),
        (["simulate", "glm-5", "--preset", "best"], "best"),
        (["simulate", "glm-5", "--preset", "adaptive,cap=1"], "cap: unknown key"),
        (["simulate", "glm-5", "--record", str(tmp_path / "log")], "--record"),
        (["simulate", "glm-5", "--hours", "-1"], "hours: got -1"),
        (["simulate", "glm-5", "--rho", "3"], "prices.rho: got 3"),
        (["simulate", "null-clustered", "--interval", "90"], "--interval: got 90, expected whole minutes"),
        (["replay", str(tmp_path / "none")], "none"),
    ):
        assert main(wrong) == 2
        assert named in capsys.readouterr().err
    for flag, value in (("--interval", "0"), ("--interval", "nan"), ("--reps", "0")):
        with pytest.raises(SystemExit, match="2"):
            main(["simulate", "glm-5", flag, value])
        assert f"argument {flag}: '{value}' is no number" in capsys.readouterr().err
    assert main(["simulate", "--list"]) == 0
    assert "launch-week" in capsys.readouterr().out
    assert main(["simulate", "launch-week", "--show"]) == 0
    assert "newcomer" in capsys.readouterr().out


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """With matplotlib installed --plot writes a PNG."""
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.png"
    assert main(["simulate", "two-deployments", "--hours", "2", "--reps", "1", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
