"""``exacto why``, ``tiers``, ``audit`` and ``report`` on a store, as they are typed."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete

from exacto_plugin.audit import queries
from exacto_plugin.audit.formatting import moment, observed_words
from exacto_plugin.audit.verify import Verification
from exacto_plugin.cli import override, source
from exacto_plugin.cli.audit import _verified, _what
from exacto_plugin.cli.command import main
from exacto_plugin.cli.report import _money
from exacto_plugin.cli.source import StoreSource
from exacto_plugin.records import OverrideRecord, SettingsRecord
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all
from exacto_plugin.store.store import Store
from exacto_plugin.store.tables import table_of
from tests.audit.test_sentences import view

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.conftest import Story


@pytest.fixture(autouse=True)
def _after_the_story(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story is of a time to come."""
    monkeypatch.setattr("exacto_plugin.cli.arguments.time", SimpleNamespace(time=lambda: story.now))


def said(capsys: pytest.CaptureFixture[str], story: Story, *arguments: str, status: int = 0) -> str:
    """What a verb prints about the story."""
    story.connection.rollback()
    assert main([*arguments, "--store", story.url]) == status
    return capsys.readouterr().out


def written(at: float) -> str:
    """A time as a person in any zone could write it."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def test_why_now_and_then(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence has the numbers; a time before the break gives the tier of that time."""
    now = said(capsys, story, "why", "d", "--at", written(story.now))
    assert "d was deranked in g since" in now
    assert "worse than the threshold" in now
    then = said(capsys, story, "why", "d", "--model", "g", "--at", written(story.broke - 60))
    assert "d was verified good in g since" in then
    plain = json.loads(said(capsys, story, "why", "d", "--at", written(story.now), "--json"))
    assert plain["answers"][0]["tier"] == "deranked"


def test_a_time_before_the_first_record(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The deployment is on record, only not then: the answer says since when it is."""
    said(capsys, story, "tiers", status=1)  # nothing is on record of the time before the story
    first = queries.first_tier(story.connection, "d")
    assert first is not None
    story.connection.rollback()
    at = written(first.at - 60)
    for model in ([], ["--model", "g"]):
        assert main(["why", "d", "--at", at, *model, "--store", story.url]) == 2
        told = capsys.readouterr().err
        assert f"at {moment(first.at - 60)}; its first record is of {moment(first.at)}" in told
        assert "exacto tiers" not in told
    assert main(["why", "d", "--at", written(first.at + 1), "--store", story.url]) == 0


def test_recorded_tiers_are_dated(
    story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the table of a store stands of when its numbers are; a proxy's are of now, and nothing is said."""
    for now, dates in ((story.now, 1), (story.broke + 900, 2)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        (group,) = json.loads(said(capsys, story, "tiers", "--json"))["model_groups"]
        times = sorted({one["at"] for one in group["deployments"]})
        assert len(times) >= dates
        when = " to ".join(dict.fromkeys((moment(times[0]), moment(times[-1]))))
        assert f"The numbers are of {when}: " in said(capsys, story, "tiers")
    live = {"models": {"model_groups": [group]}, "status": {}}
    monkeypatch.setattr(source, "request_json", lambda _url, path: live[path])
    assert main(["tiers", "--url", "http://proxy"]) == 0
    assert "The numbers are" not in capsys.readouterr().out


def test_what_is_not_known_is_said(story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An unknown deployment or request, no place to look at, a store that is not there: status 2 and a reason."""
    for arguments, reason in (
        (["why", "nobody", "--store", story.url], "there is no deployment 'nobody'; there are a, b, c, d"),
        (["why", "nobody", "--at", "2001-01-01", "--store", story.url], "there is no deployment 'nobody'"),
        (["why", "d", "--model", "h", "--store", story.url], "there is no model group 'h'; there are g"),
        (["tiers", "--model", "h", "--store", story.url], "there is no model group 'h'; there are g"),
        (["report", "--model", "h", "--store", story.url], "there is no model group 'h'; there are g"),
        (["audit", "--model", "h", "--store", story.url], "there is no model group 'h'; there are g"),
        (["audit", "--deployment", "nobody", "--store", story.url], "there is no deployment 'nobody'; there are a"),
        (["why", "--request", "nothing", "--store", story.url], "request 'nothing' is not on record"),
        (["why", "--store", story.url], "name a deployment"),
        (["why", "d"], "no source given"),
        (["tiers", "--store", f"sqlite:///{tmp_path}/none.sqlite"], "there is no store at"),
        (["tiers", "--store", "mysql://somewhere"], "--store: got another kind"),
        (["audit", "verify"], "--config FILE or --store URL"),
        (["why", "d", "--url", "http://127.0.0.1:9"], "no key: set EXACTO_API_KEY"),
    ):
        assert main(arguments) == 2
        assert reason in capsys.readouterr().err
    for arguments, reason in (
        (["why", "d", "--at", "last Tuesday"], "not a time"),
        (["why", "d", "--at", written(story.now + 1)], "is in the future"),
        (["audit", "--limit", "0"], "argument --limit: '0' is no number from 1 to 10000"),
        (["audit", "--limit=-1"], "argument --limit: '-1' is no number from 1 to 10000"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert reason in capsys.readouterr().err


def test_what_is_not_looked_for_is_refused(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """A filter that would do nothing, and a time that ends before it begins: status 2 and a reason."""
    for arguments, reason in (
        (
            ["audit", "--kind", "transition", "decision", "--deployment", "d"],
            "entries of kind decision are not kept by",
        ),
        (["audit", "verify", "--model", "nope"], "no --model"),
        (["report", "--since", "2026-11-21 10:50", "--until", "2026-11-21 10:20"], "the time range from 2026-11-21"),
    ):
        assert main([*arguments, "--store", story.url]) == 2
        assert reason in capsys.readouterr().err


def test_a_proxy_that_is_down_is_no_obstacle(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """With a store named beside it, that one answers."""
    told = said(capsys, story, "why", "d", "--url", "http://127.0.0.1:9", "--at", written(story.now))
    assert "d was deranked" in told


def test_a_configuration_names_its_store(
    story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--config``: the URL in its block; without one the file that a proxy with this configuration would keep."""
    named = tmp_path / "named.yaml"
    named.write_text(f"exacto_settings: {{store: {{url: '{story.url}'}}}}")
    story.connection.rollback()
    assert main(["audit", "--config", str(named)]) == 0
    assert "insufficient data → verified good" in capsys.readouterr().out
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    bare = tmp_path / "bare.yaml"
    bare.write_text("model_list: []")
    assert main(["audit", "--config", str(bare)]) == 2
    assert str(tmp_path / "exacto_plugin") in capsys.readouterr().err


def test_the_audit(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """A table with the number that decided; filters; JSON."""
    kinds = ("--kind", "transition", "override")
    told = said(capsys, story, "audit", *kinds, "--deployment", "d", "--since", written(story.broke))
    assert "verified good → deranked: 85.2 % against 99.05 % (81 calls)" in " ".join(told.split())
    entries = json.loads(said(capsys, story, "audit", "--kind", "deployment", "--limit", "2", "--json"))["entries"]
    assert len(entries) == 2


def test_the_audit_tells_settings_and_words(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """What was changed from what to what, and what an operator said."""
    insert_all(
        story.connection,
        [
            OverrideRecord(story.now, "g", "d", "good", "vendor [b]fixed[/b] it [/ticket-7]", "5a17", story.now + 60),
            OverrideRecord(story.now, "g", "d", "reset", "", "5a17", story.now + 2_592_000),
            SettingsRecord(story.now, "w", "change", "0a1b", {"mode": ["apply", "observe"]}),
            SettingsRecord(story.now, "w", "start", "0a1c", {"mode": ["apply", "observe"]}),
        ],
    )
    story.connection.commit()
    told = " ".join(said(capsys, story, "audit", "--since", written(story.now)).split())
    for kind in (OverrideRecord, SettingsRecord):
        story.connection.execute(delete(table_of(kind)))
    story.connection.commit()
    assert "reset (by 5a17)" in told
    assert "start with settings 0a1c: mode 'observe' (default 'apply')" in told
    assert "change, settings 0a1b: mode 'apply' → 'observe'" in told
    assert "vendor [b]fixed[/b] it [/ticket-7] (by 5a17)" in told


def _moved(previous: str, tier: str, code: str) -> str:
    """The audit's words on a move of a deployment with a good rate of calls, and a benchmark's score."""
    calls = {"signal": "tool_call_success", "code": "within_threshold", "value": 0.99, "threshold": 0.9, "samples": 200}
    score = {"signal": "benchmark", "code": code, "value": 0.72, "threshold": 0.8, "samples": 12, "run": "f00d"}
    return _what({"kind": "transition", "previous": previous, "tier": tier, "reasons": [calls, score]})


def test_the_audit_names_the_run_that_moved_a_tier() -> None:
    """The score that deranked, and the one with which a deployment came back; no other move is about a score."""
    score = "benchmark score 72.0 % against 80.0 % (12 questions, run f00d)"
    assert _moved("verified_good", "deranked", "below_threshold") == f"verified good → deranked: {score}"
    back = _moved("deranked", "verified_good", "within_threshold")
    assert back == f"deranked → verified good: 99.00 % against 90.00 % (200 calls); {score}"
    assert "f00d" not in _moved("insufficient_data", "verified_good", "within_threshold")


def test_verification(story: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No difference in what was recorded; status 1 and the place when a single digit was changed."""
    assert "no differences" in " ".join(said(capsys, story, "audit", "verify").split())
    copy = tmp_path / "copy.sqlite"
    with sqlite3.connect(copy) as target, sqlite3.connect(story.url.removeprefix("sqlite:///")) as source:
        source.backup(target)
        target.execute("UPDATE transitions SET reasons = replace(reasons, '\"samples\":', '\"samples\":1')")
    assert main(["audit", "verify", "--store", f"sqlite:///{copy}"]) == 1
    told = capsys.readouterr().out
    assert "transition d: on record" in told
    assert main(["audit", "verify", "--store", f"sqlite:///{copy}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"]
    never = ("--since", "2001-01-01", "--until", "2001-01-02")
    none = " ".join(said(capsys, story, "audit", "verify", *never, status=1).split())
    assert none.startswith("Nothing that can be verified is on record in this time range in the store")
    assert "no differences" not in none


def test_the_report(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares with their intervals, over the hours that are asked for."""
    hours = ("--since", written(story.broke - 86_400), "--until", written(story.now))
    plain = json.loads(said(capsys, story, "report", "--json", *hours))
    (group,) = plain["model_groups"]
    assert group["requests"] == 36 * 5
    assert plain["since"] % 3600 == 0, "counts are kept by the hour"
    assert {one["deployment"] for one in group["deployments"]} >= {"d"}
    assert group["changed"]["low"] < group["changed"]["value"] < group["changed"]["high"]
    told = said(capsys, story, "report", *hours)
    assert "g: 180 requests" in told
    assert "deployment answers bad picks without tiers with tiers" in " ".join(told.split())
    part = said(capsys, story, "report", "--since", "2001-01-01T10:50Z", "--until", "2001-01-01T11:20Z", status=1)
    zoned = [moment(datetime(2001, 1, 1, hour, tzinfo=UTC).timestamp()) for hour in (10, 12)]
    assert part.startswith("From {} to {} no request".format(*zoned))
    assert "expected bad calls" in told
    days = ("--since", "2001-01-01", "--until", "2001-01-02")
    none = said(capsys, story, "report", *days, status=1)
    assert "no request with tools was counted" in " ".join(none.split())


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_report_breaks_no_interval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, story: Story, columns: str
) -> None:
    """Each stands in one line, and no two lines are empty."""
    monkeypatch.setenv("COLUMNS", columns)
    hours = ("--since", written(story.broke - 86_400), "--until", written(story.now))
    told = said(capsys, story, "report", *hours)
    table = told[told.index("what") : told.index("deployment")]
    assert re.findall(r"\([^()\n]* to [^()\n]*\)", table)
    assert all(line.count("(") == line.count(")") for line in table.splitlines())
    assert max(map(len, told.splitlines())) <= int(columns)
    assert "\n\n\n" not in told


def test_an_interval_without_width_is_left_out() -> None:
    """Its ends say nothing that the number does not."""
    assert _money({"value": 0.18, "low": 0.18, "high": 0.18}) == "$0.18"
    assert _money({"value": 0.18, "low": 0.17, "high": 0.19}) == "$0.18 ($0.17 to $0.19)"


def test_one_of_each_is_counted_as_one() -> None:
    """The summary of a verification has no plural of one."""
    (line,) = _verified(Verification(recomputes=1, deployments=2, transitions=1, references=0))
    assert line.startswith("1 recompute of model groups: 2 verdicts, 1 transition and 0 references computed again")


def test_a_store_that_is_ill_is_told_with_the_tiers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the records, and what helps, stands under the table and under the sentence."""
    ill = {"state": "degraded", "message": "no room to write to /x.sqlite", "remedy": "free some on its disk"}
    answers = {
        "models": {"model_groups": []},
        "status": {"store": ill},
        "why": {"answers": [view("verified_good")], "store": ill},
    }
    monkeypatch.setattr(source, "request_json", lambda _url, path, **_parameters: answers[path])
    for arguments, status in ((["tiers"], 1), (["why", "novita"], 0)):
        assert main([*arguments, "--url", "http://proxy"]) == status
        told = " ".join(capsys.readouterr().out.split())
        assert "The store is degraded: no room to write to /x.sqlite; free some on its disk." in told


def listed(monkeypatch: pytest.MonkeyPatch, *deployments: dict[str, object], **more: object) -> None:
    """A proxy that has these deployments in the model group ``kimi``."""
    blank: dict[str, object] = {"provider": "", "since": None, "signals": {}, "reasons": [], "override": None}
    group = {"model_group": "kimi", "deployments": [{**blank, **one} for one in deployments]}
    answers = {"models": {"model_groups": [group] if deployments else [], **more}, "status": {}}
    monkeypatch.setattr(source, "request_json", lambda _url, path, **_parameters: answers[path])


@pytest.mark.parametrize("columns", [80, 120])
def test_names_and_reasons_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """The table of tiers cuts nothing where there is little room, and takes nothing for markup."""
    monkeypatch.setenv("COLUMNS", str(columns))
    name, reason = "moonshotai/kimi-k2-0905-" + 60 * "x", "[b]see[/b] [/ticket-7] " + 100 * "y"
    one: dict[str, object] = {"deployment": f"[eu]{name}", "tier": "verified_good", "override": {"reason": reason}}
    listed(monkeypatch, one)
    assert main(["tiers", "--url", "http://proxy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    why = lines[1].index("why")
    assert f"[eu]{name}" in "".join(line.split(" ")[0] for line in lines[2:])
    assert f"override: {reason}".replace(" ", "") in "".join(line[why:] for line in lines).replace(" ", "")


def test_why_before_the_first_verdict_says_when_it_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time and how long that is, without another command to ask."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    waiting = [{"model_group": "kimi", "deployment": "new", "provider": "new"}]
    answers: dict[str, dict[str, Any]] = {
        "why": {"answers": []},
        "models": {"model_groups": [], "waiting": waiting, "next_recompute_at": 1090.0},
        "status": {},
    }
    monkeypatch.setattr(source, "request_json", lambda _url, path, *_, **__: answers[path])
    for due, words in ((1090.0, f"due at {moment(1090.0)}, in 1 min 30 s"), (990.0, "due now")):
        answers["models"]["next_recompute_at"] = due
        assert main(["why", "new", "--url", "http://proxy"]) == 2
        told = capsys.readouterr().err
        assert f"'new' has no verdict yet; the next ones are {words}" in told
        assert "exacto tiers" not in told


def test_tiers_of_a_group(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Good ones first, names without a hash that tells nothing, the mix of flaws, and who waits for a verdict."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    calls = {"tool_call_success": {"value": 0.7, "samples": 40}}
    below = {"code": "below_threshold", "signal": "tool_call_success", "value": 0.7, "threshold": 0.97, "samples": 40}
    listed(
        monkeypatch,
        {"deployment": "novita-69ddc083d1", "provider": "novita", "tier": "deranked", "since": 100.0, "signals": calls}
        | {"reasons": [below], "flaws": {"missing_call": 9, "schema_mismatch": 3, "truncated": 4}},
        {"deployment": "own", "provider": "vllm", "tier": "verified_good"},
        waiting=[{"model_group": "kimi", "deployment": "new", "provider": "new"}],
        next_recompute_at=1090.0,
    )
    assert main(["tiers", "--url", "http://proxy"]) == 0
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert told[:3] == ["kimi", "deployment provider tier for success calls why", "own vllm verified good - - 0"]
    shown = " ".join(" ".join(told[3:]).split())
    assert shown.startswith(
        "novita novita deranked 15 min 70.0 % 40 below its threshold 97.00 %; 9 missing_call, 3 schema_mismatch"
    )
    assert "new insufficient - - - no verdict yet data The next verdicts are due in 1 min 30 s." in shown
    assert "Kinds of bad answers are counted since the proxy's start" in shown


def test_a_tier_is_whole_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two words stand in one line of 80 columns; the name of each provider is told, or of none."""
    monkeypatch.setenv("COLUMNS", "80")
    waiting = [{"model_group": "kimi", "deployment": name, "provider": name} for name in ("oak", "cedar")]
    for more, providers in ((None, 0), ({"model_group": "kimi", "deployment": "own", "provider": "vllm"}, 1)):
        listed(monkeypatch, waiting=[*waiting, *([more] if more else [])])
        assert main(["tiers", "--url", "http://proxy"]) == 0
        told = capsys.readouterr().out
        assert told.count("insufficient data") == told.count("no verdict yet") == 2 + providers
        assert [" ".join(line.split()[: 1 + providers]) for line in told.splitlines()[2:4]] == [
            " ".join((1 + providers) * [name]) for name in ("cedar", "oak")
        ]


@pytest.mark.parametrize(
    ("mode", "whole", "told"),
    [
        ("observe", "observe", "Tiers are decided and not applied: mode observe."),
        ("observe", "apply", "Tiers are decided and not applied: mode observe."),
        (None, "observe", "Tiers are decided and not applied: mode observe."),
        ("off", "apply", "Tiers are not applied: mode off."),
        ("apply", "observe", ""),
        (None, None, ""),
    ],
)
def test_tiers_that_are_not_applied_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mode: str | None, whole: str | None, told: str
) -> None:
    """A model group's own mode counts, else that of all; records and earlier proxies do not tell."""
    blank: dict[str, object] = {"provider": "", "since": None, "signals": {}, "reasons": [], "override": None}
    group = {"model_group": "kimi", "mode": mode, "deployments": [{**blank, "deployment": "a", "tier": "deranked"}]}
    answers: dict[str, object] = {"models": {"model_groups": [group]}, "status": {"mode": whole}}
    monkeypatch.setattr(source, "request_json", lambda _url, path, **_parameters: answers[path])
    assert main(["tiers", "--url", "http://proxy"]) == 0
    shown = capsys.readouterr().out
    assert told in shown
    assert ("applied" in shown) is bool(told)


def test_small_differences_of_tokens_are_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 5 % on or flagged they are, with what the word means; "-0%" never is."""
    none = {"value": None, "p90": None, "samples": 0}

    def burns(value: float, *, flagged: bool = False) -> dict[str, Any]:
        return {"token_burn": {"value": value, "flagged": flagged}, "queue_time": none, "throughput_spread": none}

    good = {"tier": "verified_good"}
    listed(monkeypatch, {"deployment": "a", "observed": burns(-0.001), **good}, {**good, "deployment": "b"})
    assert main(["tiers", "--url", "http://proxy"]) == 0
    assert "tokens" not in capsys.readouterr().out
    listed(monkeypatch, {"deployment": "a", "observed": burns(0.4, flagged=True), **good}, {**good, "deployment": "b"})
    assert main(["tiers", "--url", "http://proxy"]) == 0
    told = capsys.readouterr().out
    assert "tokens +40%!" in told
    assert "output tokens beside the median of the others" in told
    assert observed_words(burns(-0.001)) == "tokens +0%"


@pytest.mark.parametrize(
    ("fails_on", "status"), [("deranked", 1), ("insufficient_data", 0), ("undecided", 0), ("good", 0)]
)
def test_a_tier_to_fail_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fails_on: str, status: int
) -> None:
    """For scripts: status 1 when a deployment has the tier, whatever is printed."""
    listed(monkeypatch, {"deployment": "a", "tier": "deranked"})
    for form in ([], ["--json"]):
        assert main(["tiers", "--url", "http://proxy", "--fail-on", fails_on, *form]) == status
    assert capsys.readouterr().out


def test_no_tier_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty table would say nothing."""
    listed(monkeypatch)
    assert main(["tiers", "--url", "http://proxy"]) == 1
    assert "No deployment has a verdict yet, and the proxy has none configured." in capsys.readouterr().out


def test_no_tier_on_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The records do not know what is configured, nor when a proxy makes its next verdicts."""
    url = f"sqlite:///{tmp_path / 'empty.sqlite'}"
    empty = Store(location_of_url(url))
    empty.open()
    empty.close()
    assert main(["tiers", "--store", url]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "No verdict is on record yet. A running proxy tells when its next ones are due" in told
    assert "configured" not in told


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A tier is coloured where colours are shown, nothing is with NO_COLOR, and a name brings no colour along."""
    listed(monkeypatch, {"deployment": "a\x1b[31m", "tier": "deranked"})
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["tiers", "--url", "http://proxy"])
    told = capsys.readouterr().out
    assert "\x1b[31mderanked" in told
    assert "a\\x1b[31m" in told
    monkeypatch.setenv("NO_COLOR", "1")
    main(["tiers", "--url", "http://proxy"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_provider_finds_its_deployment(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its key is: by ``why`` and by ``audit``."""
    (provider,) = {one.provider for one in StoreSource(location_of_url(story.url)).known() if one.deployment == "d"}
    told = said(capsys, story, "why", provider, "--at", written(story.now))
    assert "d was deranked in g" in " ".join(told.split())
    assert json.loads(said(capsys, story, "audit", "--deployment", provider, "--json"))["entries"]


def test_the_address_in_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``EXACTO_URL`` stands for ``--url``, in verbs that need one too; a store that is named is looked at instead."""
    asked: list[str] = []

    def answer(url: str, path: str, *_body: object, **_parameters: object) -> dict[str, object]:
        asked.append(url)
        answers: dict[str, dict[str, object]] = {"models": {"model_groups": []}, "status": {}}
        return {**answers, "overrides": {"overrides": [], "kept": True}}[path]

    monkeypatch.setenv("EXACTO_URL", "http://from.environment")
    monkeypatch.setattr(source, "request_json", answer)
    monkeypatch.setattr(override, "request_json", answer)
    main(["tiers"])
    assert main(["override", "a", "reset"]) == 0
    assert "nothing to reset: a has no override" in capsys.readouterr().out
    assert set(asked) == {"http://from.environment"}
    asked.clear()
    assert main(["tiers", "--store", "sqlite:////nowhere/none.sqlite"]) == 2
    assert not asked
    capsys.readouterr()
