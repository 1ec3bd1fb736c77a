"""The criteria of curated lists, on plain data as the API gives it, and what is printed of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from exacto_plugin.cli import command
from exacto_plugin.cli.curate import Criteria, ListProposal, block, propose, render
from exacto_plugin.config.settings import load_settings


def deployment(name: str, **more: Any) -> dict[str, Any]:
    """A deployment that qualifies but for ``more``."""
    told = {
        "deployment": name,
        "provider": name,
        "tier": "verified_good",
        "signals": {
            "tool_call_success": {"value": 0.999, "samples": 400},
            "propensity": {"value": 0.3, "samples": 1300},
        },
        "reasons": [{"code": "within_threshold", "signal": "tool_call_success", "value": 0.999, "threshold": 0.98}],
        "choices": {"ignored_by": 0, "pinned_by": 0, "passed_over_by": 0},
    }
    signals = {**told["signals"], **more.pop("signals", {})}  # type: ignore[dict-item]
    return {**told, "signals": signals, **more}


def group(*others: dict[str, Any], curated: list[str] | None = None, keys: int = 100) -> dict[str, Any]:
    """A model group of four that qualify, and others."""
    deployments = [*(deployment(name) for name in ("a", "b", "c", "d")), *others]
    return {"model_group": "vendor/model", "tool_keys": keys, "curated": curated, "deployments": deployments}


def judged(*others: dict[str, Any], criteria: Criteria | None = None, **more: Any) -> ListProposal:
    """What becomes of a group."""
    return propose(group(*others, **more), criteria or Criteria())


def below(signal: str) -> list[dict[str, Any]]:
    """A reason against a deployment."""
    return [{"code": "below_threshold", "signal": signal, "value": 0.5, "threshold": 0.9}]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [({"value": None}, "unknown against 90.00 %"), ({"threshold": None}, "50.0 % against unknown")],
)
def test_a_reason_without_a_number_is_told(numbers: dict[str, None], told: str) -> None:
    """What another preset deranked has no value yet, and what has lost its peers no threshold."""
    (reason,) = below("tool_call_success")
    found = judged(deployment("e", tier="deranked", reasons=[{**reason, **numbers}])).findings[-1]
    assert found.against == (f"tool-call success {told}",)


def ignored(keys: int) -> dict[str, int]:
    """What callers choose."""
    return {"ignored_by": keys, "pinned_by": 0, "passed_over_by": 0}


def test_who_shows_everything_is_proposed() -> None:
    """Providers, in the order of the API."""
    found = judged()
    assert found.proposed == ("a", "b", "c", "d")
    assert block([found]) == {"exacto_settings": {"curated": {"vendor/model": ["a", "b", "c", "d"]}}}


@pytest.mark.parametrize(
    ("more", "against"),
    [
        ({"tier": "deranked", "reasons": below("tool_call_success")}, "tool-call success 50.0 % against 90.00 %"),
        ({"tier": "deranked", "reasons": below("throughput")}, "deranked"),
        ({"tier": "verified_good", "override": {"measured_tier": "deranked"}}, "deranked"),
        ({"tier": "deranked", "reasons": below("benchmark")}, "benchmark score 50.0 % against 90.00 %"),
        ({"choices": ignored(5)}, "ignored by 5 of 100 keys"),
        ({"signals": {"propensity": {"value": 0.9, "samples": 1300}}}, "calls tools in 90% of answers"),
        ({"signals": {"propensity": {"value": 0.04, "samples": 1300}}}, "calls tools in 4% of answers"),
    ],
)
def test_what_speaks_against(more: dict[str, Any], against: str) -> None:
    """Each criterion for itself, and it breaks a configured list."""
    found = judged(deployment("e", **more), curated=["a", "e"])
    assert found.proposed == ("a", "b", "c", "d")
    assert len(found.broken) == 1
    assert found.broken[0].startswith(f"e (e): {against}") or found.broken[0].startswith(f"e: {against}")


@pytest.mark.parametrize(
    "more",
    [
        {"tier": "insufficient_data"},
        {"signals": {"tool_call_success": {"value": 1.0, "samples": 199}}},
        {"signals": {"tool_call_success": {"value": None, "samples": 0}}, "tier": "insufficient_data"},
    ],
)
def test_what_is_not_shown_yet(more: dict[str, Any]) -> None:
    """It is not proposed, and breaks no list either."""
    found = judged(deployment("e", **more), curated=["e"])
    assert "e" not in found.proposed
    assert not found.broken
    assert len(found.unproven) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"choices": ignored(4)},
        {"signals": {"propensity": {"value": 0.36, "samples": 1300}}},  # a known false alarm of the linear rule
        {"signals": {"propensity": {"value": 0.9, "samples": 49}}},
        {"signals": {"propensity": {"value": 0.45, "samples": 60}}},  # as chance may have it
    ],
)
def test_what_is_within_bounds(more: dict[str, Any]) -> None:
    """Usual differences do not exclude."""
    assert "e" in judged(deployment("e", **more)).proposed


def test_the_criteria_can_be_set() -> None:
    """Each moves its own bound."""
    poor = deployment(
        "e",
        choices=ignored(7),
        signals={
            "tool_call_success": {"value": 1.0, "samples": 50},
            "propensity": {"value": 0.5, "samples": 1300},
        },
    )
    assert "e" not in judged(poor).proposed
    kind = Criteria(min_calls=50, propensity_ratio=4.0, max_ignored=0.1)
    assert "e" in judged(poor, criteria=kind).proposed


def test_without_three_others_propensity_is_silent() -> None:
    """Two deployments cannot say which of them is unusual."""
    two = [deployment("a"), deployment("b", signals={"propensity": {"value": 0.9, "samples": 1300}})]
    found = propose({"model_group": "g", "tool_keys": 1, "curated": None, "deployments": two}, Criteria())
    assert found.proposed == ("a", "b")


def test_a_provider_is_named_when_all_of_it_qualifies() -> None:
    """Else the deployments that do."""
    turbo = deployment("e-turbo", provider="E/turbo")
    good, poor = deployment("e-one", provider="e"), deployment("e-two", provider="e", tier="insufficient_data")
    assert judged(good, turbo).proposed[-2:] == ("e", "E/turbo")
    assert judged(good, turbo, poor).proposed[-2:] == ("e-one", "E/turbo")


def test_an_entry_that_names_nobody_breaks_a_list() -> None:
    """A typing error would otherwise go unnoticed."""
    assert judged(curated=["A", "gone"]).broken == ("gone: names no deployment",)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_is_printed_can_be_pasted(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """YAML with the evidence as comments, however it is wrapped; the settings take it."""
    monkeypatch.setenv("COLUMNS", columns)
    text = render([judged(deployment("e", choices=ignored(9)))], check=False)
    assert "# vendor/model: 100 keys call tools" in text
    # In 80 columns the words of a tier stand between those of a verdict.
    told = " ".join(text.replace("#", " ").split())
    assert re.search(r"ignored by (9 )?(good )?(9 )?of 100 keys", told)
    read = yaml.safe_load(text)
    assert set(read) == {"exacto_settings"}
    assert load_settings(read["exacto_settings"]).curated_list("vendor/model") == ("a", "b", "c", "d")
    assert yaml.safe_load(render([judged(keys=0)], check=True)) is None
    nobody = propose({"model_group": "g", "tool_keys": 0, "curated": None, "deployments": []}, Criteria())
    assert "# Nothing qualifies." in render([nobody], check=False)
    assert "no list is configured" in render([nobody], check=True)


def test_the_check_is_a_table_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the columns of choices and a tier of two words; numbers of calls as in the other commands."""
    monkeypatch.setenv("COLUMNS", "80")
    text = render([judged(deployment("e", choices=ignored(9)), deployment("f", tier="insufficient_data"))], check=True)
    (header,) = [line for line in text.splitlines() if "verdict" in line]
    assert header.split() == ["#", "deployment", "tier", "success", "calls", "tools", "ignored", "pinned", "verdict"]
    assert max(map(len, text.splitlines())) <= 80


def test_a_proxy_that_cannot_be_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so, and status 2."""
    monkeypatch.setenv("EXACTO_API_KEY", "sk-x")
    assert command.main(["curate", "--url", "http://127.0.0.1:9"]) == 2
    assert "nothing listens at http://127.0.0.1:9" in capsys.readouterr().err
