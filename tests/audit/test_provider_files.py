"""``exacto bundle`` and ``exacto publish``: the numbers are right, and nothing else leaves."""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exacto_plugin.audit.provider_bundle import bundle
from exacto_plugin.audit.publication import WEEK_S, week_of
from exacto_plugin.cli.command import main
from exacto_plugin.records import (
    BenchmarkRecord,
    DecisionRecord,
    DeploymentRecord,
    HourRecord,
    OverrideRecord,
    TransitionRecord,
)
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all, reading

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.records import Record

NOW = time.time()
HOUR = NOW // 3600 * 3600
SECRETS = (
    "peer-secret",
    "spare-secret",
    "host-secret",
    "caller-secret",
    "reason-secret",
    "request-secret",
    "key-secret",
    "group-secret",
    "worker-secret",
)
"""Beginnings of everything on record or in the configuration that concerns nobody outside."""
REASON = {"code": "below_threshold", "signal": "tool_call_success", "value": 0.7, "threshold": 0.9, "samples": 90}


def hour(at: float, deployment: str, answers: float, bad: float, group: str = "kimi", **kinds: float) -> HourRecord:
    """An hour's counts."""
    numbers = {"answers": answers, "bad": bad, "cost": 12.5, "picks": 1.0, **kinds}
    return HourRecord(at, group, deployment, "worker-secret", numbers)


def state(deployment: str, provider: str, group: str = "kimi") -> DeploymentRecord:
    """A deployment's tier."""
    reasons = [{**REASON, "strictness": {"price": 20}, "peers": 3}]
    return DeploymentRecord(
        "s1", NOW - WEEK_S, group, deployment, provider, "deranked", NOW - WEEK_S, reasons, {}, "change"
    )


def decision() -> DecisionRecord:
    """A request that went to the deployment."""
    attempt = {"deployment": "mine", "provider": "acme", "verdict": "invalid_json"}
    names = ("request-secret-1", "request-secret-2")
    return DecisionRecord(
        *names, NOW - 60, "kimi", "auto", "", "sampled", True, [], [], [attempt], [], 1.0, "s1", "t", "s"
    )


OLD = NOW - 5 * WEEK_S
RECORDS: list[Record] = [
    state("mine", "acme"),
    state("peer-secret-1", "globex"),
    state("peer-secret-2", "host-secret.internal:8000"),
    state("mine", "acme", "group-secret"),
    hour(HOUR, "", 0, 0),
    hour(HOUR, "mine", 60, 12, invalid_json=10, lost=2),
    hour(HOUR - 3600, "mine", 40, 8, schema_mismatch=8),
    hour(HOUR - 10 * 86_400, "mine", 1000, 0),
    hour(HOUR, "peer-secret-1", 400, 4),
    hour(HOUR, "peer-secret-2", 100, 3),
    hour(HOUR, "spare-secret", 19, 19),
    hour(OLD, "mine", 1000, 100),
    hour(OLD + 3600, "mine", 1000, 100),
    hour(OLD, "peer-secret-1", 500, 5),
    hour(OLD, "peer-secret-2", 500, 5),
    hour(OLD, "mine", 900, 9, "group-secret"),
    hour(OLD - WEEK_S, "mine", 199, 0),
    TransitionRecord(NOW - 7200, "kimi", "mine", "verified_good", "deranked", [REASON], "s1"),
    TransitionRecord(NOW - 7200, "kimi", "peer-secret-1", "verified_good", "deranked", [REASON], "s1"),
    OverrideRecord(NOW - 60, "kimi", "mine", "good", "reason-secret", "caller-secret", NOW + 60),
    BenchmarkRecord(
        OLD, "kimi", "mine", "tau2", 0.8, 300, "run-1", "h", "c", {}, None, 300, 0, 7, None, paired=True, refused=""
    ),
    decision(),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A configuration with its store; the working directory of the commands."""
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    with connect(location_of_url(url), writing=True) as connection, connection.begin():
        insert_all(connection, RECORDS)
    entry = {
        "model_name": "kimi",
        "litellm_params": {"model": "openai/kimi-k2", "api_base": "http://host-secret", "api_key": "key-secret"},
        "model_info": {"id": "mine", "provider": "acme"},
    }
    peer = {**entry, "litellm_params": {"model": "openai/peer-secret-model"}, "model_info": {"id": "peer-secret-1"}}
    public = {"models": {"kimi": "Kimi K2"}, "providers": {"acme": "ACME", "globex": "Globex"}}
    config = {"model_list": [entry, peer], "exacto_settings": {"store": {"url": url}, "publish": public}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def no_secret(text: str) -> None:
    """Nothing on record that is not for others."""
    assert [one for one in SECRETS if one in text] == []


def test_the_bundle(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates against peers without names, kinds, hours and changes; the model as its provider calls it."""
    output = files / "bundle.json"
    command = ["bundle", "mine", "--model", "kimi", "--since", "7d", "--config", str(files / "config.yaml")]
    assert main([*command, "--output", str(output)]) == 0
    assert "20.0 % bad of 100 answers, 2 peers without names" in " ".join(capsys.readouterr().out.split())
    text = output.read_text()
    no_secret(text)
    (found,) = json.loads(text)["model_groups"]
    assert (found["model"], found["provider"], found["tier"]) == ("openai/kimi-k2", "acme", "deranked")
    assert (found["answers"], found["bad"]) == (100, 20)
    assert {kind: one["bad"] for kind, one in found["kinds"].items()} == {
        "invalid_json": 10,
        "schema_mismatch": 8,
        "lost": 2,
    }
    assert [round(one["value"], 3) for one in found["peers"]] == [0.01, 0.03]
    assert set(found["peers"][0]) == {"value", "low", "high"}
    assert found["rate"]["low"] < 0.2 < found["rate"]["high"]
    assert [one["answers"] for one in found["hours"]] == [40, 60]
    assert [(one["previous"], one["tier"]) for one in found["tier_changes"]] == [("verified_good", "deranked")]
    assert found["tier_changes"][0]["reasons"] == found["reasons"] == [REASON]


def test_bad_answers_of_a_proxy(files: Path) -> None:
    """Alike ones have one fingerprint; the request's id, and what came before, is left out."""
    seen: list[dict[str, Any]] = [
        {"at": NOW - 10, "kind": "schema_mismatch", "path": "/guests#minimum", "request": "request-secret"},
        {"at": NOW - 20, "kind": "schema_mismatch", "path": "/guests#minimum", "request": "request-secret"},
        {"at": NOW - 30, "kind": "invalid_json", "path": "", "request": "request-secret"},
        {"at": NOW - 900_000, "kind": "lost", "path": "", "request": "request-secret"},
    ]
    with reading(location_of_url(f"sqlite:///{files / 'records.sqlite'}")) as connection:
        made = bundle(connection, "mine", NOW - WEEK_S, NOW, models={}, failures=lambda _: seen, model_group="kimi")
    no_secret(json.dumps(made))
    failures = made["model_groups"][0]["failures"]
    assert [one["path"] for one in failures] == ["/guests#minimum", "/guests#minimum", ""]
    assert len({one["fingerprint"] for one in failures}) == 2


def test_pairs_have_no_names(files: Path) -> None:
    """Comparisons by the same requests are there, largest first, without the other deployment."""
    numbers = {"counted": 20, "offset": -118, "share": 1.0, "constant": True, "valid": 0.5, "other_valid": 1.0}
    seen = [{"other": f"secret-{pairs}", "pairs": pairs, **numbers} for pairs in (20, 40)]
    with reading(location_of_url(f"sqlite:///{files / 'records.sqlite'}")) as connection:
        made = bundle(
            connection,
            "mine",
            NOW - WEEK_S,
            NOW,
            models={},
            failures=lambda _: (),
            pairs=lambda _: seen,
            model_group="kimi",
        )
    no_secret(json.dumps(made))
    assert "secret-" not in json.dumps(made)
    assert made["model_groups"][0]["pairs"] == [{"pairs": pairs, **numbers} for pairs in (40, 20)]


def test_nobody(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A deployment that is not on record, and no store."""
    assert main(["bundle", "nobody", "--store", f"sqlite:///{files / 'records.sqlite'}"]) == 2
    assert "there is no deployment 'nobody'; there are " in capsys.readouterr().err
    assert main(["bundle", "mine"]) == 2


def test_a_bundle_is_found_by_the_provider(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in other verbs; the file has the name on record."""
    assert main(["bundle", "ACME", "--model", "kimi", "--store", f"sqlite:///{files / 'records.sqlite'}"]) == 0
    assert json.loads(capsys.readouterr().out)["deployment"] == "mine"


def test_a_configuration_without_a_block_publishes_nothing(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells what to add, not that something is broken."""
    config = yaml.safe_load((files / "config.yaml").read_text())
    config.pop("exacto_settings")
    (files / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["publish", str(files / "out"), "--config", str(files / "config.yaml")]) == 2
    assert "add publish: {models: {MODEL GROUP: NAME}, providers: {PROVIDER: NAME}}" in capsys.readouterr().err


def test_the_publication(files: Path) -> None:
    """Of old enough weeks, by public names; small rows, other groups and hosts are left out."""
    assert main(["publish", str(files / "out"), "--config", str(files / "config.yaml")]) == 0
    texts = {name: (files / "out" / f"exacto-accuracy.{name}").read_text() for name in ("json", "csv")}
    for text in texts.values():
        no_secret(text)
        assert "mine" not in text
    rows = json.loads(texts["json"])
    # The two hours may be of two weeks.
    calls = [one for one in rows if (one["provider"], one["measure"]) == ("ACME", "tool_calls")]
    assert (sum(one["count"] for one in calls), {one["accuracy"] for one in calls}) == (2000, {0.9})
    others = {(one["provider"], one["measure"]): one["accuracy"] for one in rows if one not in calls}
    assert others == {("ACME", "tau2"): 0.8, ("Globex", "tool_calls"): 0.99}
    assert {one["model"] for one in rows} == {"Kimi K2"}
    assert all(one["low"] < one["accuracy"] < one["high"] for one in rows)
    read = list(csv.DictReader(texts["csv"].splitlines()))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == read
    assert {datetime.fromisoformat(one["week"]).weekday() for one in rows} == {0}


def test_what_is_new_waits(files: Path) -> None:
    """The delay counts from the end of a week, so that a provider has had it all that long."""
    config = yaml.safe_load((files / "config.yaml").read_text())
    ended = week_of(OLD) + WEEK_S
    for margin_s, count in ((-3600.0, True), (3600.0, False)):
        # The command has its own clock, and this module's NOW is as old as the whole run of the tests.
        config["exacto_settings"]["publish"]["delay_days"] = (time.time() - ended + margin_s) / 86_400
        (files / "config.yaml").write_text(yaml.safe_dump(config))
        assert main(["publish", str(files / "out"), "--config", str(files / "config.yaml")]) == 0
        rows = json.loads((files / "out" / "exacto-accuracy.json").read_text())
        first = datetime.fromtimestamp(week_of(OLD), UTC).date().isoformat()
        assert any(one["week"] == first for one in rows) == count, margin_s


@pytest.mark.parametrize("left_out", ["models", "providers", "publish"])
def test_nothing_without_opting_in(files: Path, capsys: pytest.CaptureFixture[str], left_out: str) -> None:
    """Both lists have to be written."""
    config = yaml.safe_load((files / "config.yaml").read_text())
    settings = config["exacto_settings"]
    (settings if left_out == "publish" else settings["publish"]).pop(left_out)
    (files / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["publish", str(files / "out"), "--config", str(files / "config.yaml")]) == 2
    assert "nothing may be published" in capsys.readouterr().err
    assert not (files / "out").exists()
