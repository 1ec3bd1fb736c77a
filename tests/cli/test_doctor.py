"""``exacto doctor``: each check, and when verdicts come."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin._version import __version__
from exacto_plugin.cli import doctor
from exacto_plugin.cli.command import main
from exacto_plugin.cli.proxy_client import ProxyError

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 10_000.0
STATUS: Mapping[str, Any] = {
    "version": __version__,
    "litellm": "1.108.7",
    "metrics": ["prometheus"],
    "mode": "apply",
    "preset": "adaptive",
    "recompute_interval_s": 300.0,
    "features": {"tiers": {"on": True, "reason": None, "remedy": None}},
    "answers_with_tools": {"chat": {"left": 5, "scored": 4}},
    "faults": {},
    "settings": {"problem": None},
    "store": {"state": "ok", "place": "/x.sqlite"},
    "sharing": {"role": "leader", "exchange": "store", "workers": 2},
}
ALONE: Mapping[str, Any] = {"role": "alone", "exchange": None}
FEW = {"code": "too_few_samples", "signal": "tool_call_success", "samples": 40, "needed": 100, "window_s": 86_400.0}
MODELS: Mapping[str, Any] = {
    "at": NOW - 100.0,
    "next_recompute_at": NOW + 200.0,
    "model_groups": [
        {
            "model_group": "kimi",
            "deployments": [
                {
                    "deployment": "novita-69ddc083d1",
                    "provider": "novita",
                    "tier": "insufficient_data",
                    "since": NOW - 800.0,
                    "signals": {"tool_call_success": {"value": 1.0, "samples": 40}},
                    "reasons": [FEW],
                },
                {
                    "deployment": "own",
                    "provider": "vllm",
                    "tier": "verified_good",
                    "since": NOW - 800.0,
                    "signals": {"tool_call_success": {"value": 1.0, "samples": 140}},
                    "reasons": [],
                },
            ],
        }
    ],
    "waiting": [{"model_group": "kimi", "deployment": "new", "provider": "new"}],
}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The answers of a proxy, which a test may change."""
    answers = {"status": dict(STATUS), "models": dict(MODELS)}
    monkeypatch.setattr(doctor, "request_json", lambda _url, path: answers[path])
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("EXACTO_API_KEY", "sk-x")
    monkeypatch.setenv("COLUMNS", "80")
    return answers


def told(capsys: pytest.CaptureFixture[str], status: int) -> str:
    """What is printed, without line breaks."""
    assert main(["doctor", "--url", "proxy:4000"]) == status
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("proxy")
def test_a_proxy_that_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """What it has, and what each deployment still needs: 40 answers in 800 s make 60 more in 1,200 s."""
    text = told(capsys, 0)
    assert "ok proxy http://proxy:4000 answers" in text
    assert f"exacto_plugin {__version__} with LiteLLM 1.108.7" in text
    assert "leader through store, 2 workers" in text
    assert "scored since the start (chat: 4 of 5)" in text
    assert "made 1 min 40 s ago; the next is due in 3 min 20 s" in text
    assert "novita 40 of 100 answers; at the mean rate of the last 13 min 20 s, a verdict after about 20 min" in text
    assert "own 140; verified good" in text
    assert "new no verdict yet; the first is due in 3 min 20 s" in text, "no number, as none is known"


@pytest.mark.parametrize(
    ("change", "state", "text"),
    [
        ({"settings": {"problem": "config.yaml: bad"}}, "problem", "config.yaml: bad"),
        ({"settings": {"problem": None, "warnings": ["curated.kimi[0]: matches none"]}}, "problem", "matches none"),
        ({"store": {"state": "degraded", "message": "full", "remedy": "free some"}}, "problem", "full; free some"),
        ({"store": {"state": "memory"}}, "note", "in memory"),
        ({"sharing": ALONE, "store": {"state": "memory"}}, "note", "shares nothing"),
        ({"sharing": ALONE}, "note", "has not begun to share"),
        ({"sharing": {"role": "local", "exchange": "redis", "workers": 3}}, "problem", "does not answer"),
        ({"features": {"rescue": {"on": False, "reason": "no hook", "remedy": "upgrade"}}}, "note", "rescue: no hook"),
        ({"metrics": []}, "note", "not exported: pip install prometheus_client beside the proxy"),
        (
            {"metrics": [], "prometheus_client": True},
            "note",
            "not exported: add prometheus to litellm_settings.callbacks",
        ),
        ({"faults": {"score": 3}}, "problem", "score 3"),
        ({"mode": "observe"}, "note", "not applied"),
        ({"apply_share": 0.1}, "note", "apply to 10.0 % of the conversations"),
        ({"settings": {"problem": "bad"}}, "problem", "the settings before it stay in force"),
        ({"version": "0.0.1"}, "note", "0.0.1 with LiteLLM 1.108.7 there"),
        ({"version": None}, "note", "does not tell its own"),
    ],
)
def test_findings(
    proxy: dict[str, Any], capsys: pytest.CaptureFixture[str], change: dict[str, Any], state: str, text: str
) -> None:
    """A problem is status 1, a note is not."""
    proxy["status"] |= change
    assert main(["doctor", "--url", "proxy:4000", "--json"]) == (1 if state == "problem" else 0)
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [one["state"] for one in findings if text in one["text"]] == [state]


@pytest.mark.parametrize(
    ("workers", "said"), [(2, ", 2 workers at the last verdicts"), (1, ", 1 worker at"), (None, "")]
)
def test_the_number_of_workers_is_that_of_the_last_verdicts(
    proxy: dict[str, Any], capsys: pytest.CaptureFixture[str], workers: int | None, said: str
) -> None:
    """Before a first one no number is known: a worker counts the others when it shares a result with them."""
    proxy["status"]["sharing"] = {**proxy["status"]["sharing"], "workers": workers}
    assert f"leader through store{said}" in told(capsys, 0)
    assert ("worker" in told(capsys, 0)) == (workers is not None)


def test_verdicts_that_do_not_come(proxy: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """None for three intervals is a problem; none yet is none."""
    proxy["models"] |= {"at": NOW - 1000.0, "next_recompute_at": NOW - 700.0}
    assert "problem verdicts made 16 min 40 s ago; the next is due now" in told(capsys, 1)
    proxy["models"] |= {"at": NOW - 30_000.0, "next_recompute_at": NOW + 60.0}
    assert "note verdicts made 8 h 20 min ago; the next is due in 1 min" in told(capsys, 0), "of before a restart"
    proxy["models"] |= {"at": 0.0, "next_recompute_at": NOW + 60.0}
    assert "note verdicts no recompute yet; the next is due in 1 min" in told(capsys, 0)


def test_a_proxy_that_does_not_answer(
    proxy: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key that alone is said; with one, why it does not answer."""

    def refuse(*_arguments: object) -> None:
        raise ProxyError("nothing listens there")

    monkeypatch.setattr(doctor, "request_json", refuse)
    assert "problem proxy nothing listens there" in told(capsys, 1)
    monkeypatch.delenv("EXACTO_API_KEY")
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    text = told(capsys, 1)
    assert "problem key not set: set EXACTO_API_KEY" in text
    assert "nothing listens" not in text
    assert proxy


def test_a_long_path_is_broken_after_a_slash(
    proxy: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No name in it is broken, and nothing is lost."""
    parts = ["/home", "operator", "a-rather-long-directory", "state-of-exacto", "config.example-5d1e0c9a.sqlite"]
    place = "/".join(parts)
    proxy["status"] = {**STATUS, "store": {"state": "ok", "place": place}}
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["doctor", "--url", "http://proxy:4000"]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in parts)
    assert place in "".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 60
