"""What a store answers: why, at any time; who was asked; what changed; and that it all follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from exacto_plugin.audit import queries, views
from exacto_plugin.audit.formatting import moment, observed_words, percent
from exacto_plugin.audit.request_sentences import request_sentence
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.core.views import reference_view
from exacto_plugin.records import (
    DeploymentRecord,
    ObservedRecord,
    OverrideRecord,
    ReferenceRecord,
    SettingsRecord,
)
from exacto_plugin.store.rows import insert_all
from exacto_plugin.store.tables import table_of
from tests.litellm_hooks.runtime.test_recorder import NAMES, asked, attempt, kinds

if TYPE_CHECKING:
    from tests.audit.conftest import Story


def test_why_knows_what_was_known_then(story: Story) -> None:
    """Before it broke, right after, and now: tier, since when and the numbers of that time."""
    before, after, now = (
        views.why(story.connection, "d", at, past=True)[0] for at in (story.broke - 60, story.broke + 900, story.now)
    )
    assert (before["tier"], after["tier"], now["tier"]) == ("verified_good", "deranked", "deranked")
    assert after["since"] == now["since"]
    assert story.broke < after["since"] <= story.broke + 900
    (reason,) = (one for one in after["reasons"] if one["code"] == "below_threshold")
    assert reason["value"] < reason["threshold"] < 1.0
    assert after["references"]["tool_call_success"]["peers"] == 4
    (condition,) = now["way_back"]
    assert condition["kind"] == "fresh_calls"
    assert condition["so_far"] > 0
    # 40 calls an interval, one of four deranked: a row of the measured table.
    assert after["wrong_one_in"] > 100
    told = why_sentence(after, UTC)
    for part in (
        "d was deranked in g since",
        "worse than the threshold",
        "median",
        "MAD",
        "all 4 with",
        "from the others",
        "fresh calls",
        "In simulations at most about 1 of",
    ):
        assert part in told
    assert views.why(story.connection, "d", story.now - 1e6, past=True) == []
    assert views.why(story.connection, "nobody", story.now, past=True) == []


def test_an_answer_is_of_one_moment(story: Story) -> None:
    """What was put on record of the group after the deployment's own numbers changes nothing of what is told."""
    asked = story.broke + 900
    (answer,) = views.why(story.connection, "d", asked, past=True)
    measured = answer["measured_at"]
    assert measured < asked - 60
    _, inputs = views.kept_inputs(story.connection, "g", measured)
    assert inputs is not None
    (threshold,) = (one["threshold"] for one in answer["reasons"] if one["signal"] == "tool_call_success")
    kept = queries.inputs_at(story.connection, "g", measured)
    assert kept is not None
    later = measured + 60
    references = [
        ReferenceRecord("later", later, "g", "tool_call_success", 0.5, 0.25, 0.125, 99, kept.rule, kept.engine_version)
    ]
    insert_all(story.connection, [replace(kept, snapshot="later", at=later, inputs=b"later"), *references])
    (same,) = views.why(story.connection, "d", asked, past=True)
    (now,) = views.why(story.connection, "d", asked, past=False)
    story.connection.rollback()
    assert same == answer
    assert answer["references"]["tool_call_success"]["peers"] == 4
    assert answer["way_back"][0]["so_far_at"] == measured
    told = why_sentence(now, UTC)
    assert f"worse than the threshold, then {percent(threshold)}" in told
    assert f"The numbers are those of {moment(measured, UTC)}" in told
    assert " now " not in told


def test_everybody_can_be_explained(story: Story) -> None:
    """Those that are well, too; and what is long not on record is not told as if it were new."""
    (well,) = views.why(story.connection, "a", story.now, past=False)
    assert "a is verified good in g since" in why_sentence(well, UTC)
    assert well["way_back"] == []
    (later,) = views.why(story.connection, "a", story.now + 86_400, past=True)
    assert later["stale"]
    assert "Nothing newer is on record." in why_sentence(later, UTC)


def test_tiers_of_any_time(story: Story) -> None:
    """The table of tiers, as it was; nobody's when nothing is on record for long."""

    def tiers(at: float) -> dict[str, str]:
        return {
            one["deployment"]: one["tier"]
            for group in views.tiers(story.connection, at)
            for one in group["deployments"]
        }

    assert tiers(story.broke - 60) == dict.fromkeys(NAMES, "verified_good")
    assert tiers(story.now) == {**dict.fromkeys(NAMES, "verified_good"), "d": "deranked"}
    assert tiers(story.now + 86_400) == {}


def test_tiers_are_dated(story: Story) -> None:
    """Each deployment's numbers are of when it was last put on record, the references of the newest of these."""
    (group,) = views.tiers(story.connection, story.now)
    kept = {name: queries.tier_at(story.connection, "g", name, story.now) for name in NAMES}
    assert {one["deployment"]: one["at"] for one in group["deployments"]} == {
        name: one.at for name, one in kept.items() if one is not None
    }
    assert group["at"] == max(one["at"] for one in group["deployments"])
    references = queries.references_at(story.connection, "g", group["at"])
    plain = {signal: reference_view(one) for signal, one in references.items()}
    assert {signal: dict(one) | plain[signal] for signal, one in group["references"].items()} == group["references"]
    assert group["references"].keys() == plain.keys()
    assert group["references"]["tool_call_success"].keys() >= {"step", "convicts_above", "acquits_below", "next_step"}


def test_the_audit_has_filters(story: Story) -> None:
    """By kind, model group, deployment and time; newest first, at most so many."""
    connection = story.connection
    changes = views.audit(connection)
    assert {entry["kind"] for entry in changes} == {"transition"}
    assert [entry["at"] for entry in changes] == sorted((entry["at"] for entry in changes), reverse=True)
    (derank,) = views.audit(connection, deployment="d", since=story.broke)
    assert (derank["previous"], derank["tier"]) == ("verified_good", "deranked")
    assert views.audit(connection, deployment="d", until=story.broke)[-1]["previous"] == "insufficient_data"
    assert views.audit(connection, model_group="other") == []
    assert len(views.audit(connection, kinds=["deployment"], limit=3)) == 3
    assert {entry["occasion"] for entry in views.audit(connection, kinds=["deployment"])} == {"change", "checkpoint"}


def test_it_all_follows(story: Story) -> None:
    """Verification covers every transition and every checkpoint; a tier that was changed by hand is found."""
    found = queries.verify(story.connection)
    assert found.differences == []
    assert found.without_inputs == 0
    assert found.transitions == len(views.audit(story.connection))
    assert found.recomputes > 3
    assert queries.verify(story.connection, since=story.now + 1).recomputes == 0
    table: Any = table_of(DeploymentRecord)
    story.connection.execute(update(table).where(table.c.deployment == "d").values(tier="verified_good"))
    differences = queries.verify(story.connection, since=story.broke).differences
    story.connection.rollback()
    assert {one.what for one in differences} == {"deployment d"}
    assert {(one.recorded[0], one.follows[0]) for one in differences} == {("verified_good", "deranked")}


def test_overrides_and_settings_are_told(story: Story) -> None:
    """A word is over the measurements while it holds, and both it and changed settings are in the audit."""
    at = story.now - 600
    word = OverrideRecord(at, "g", "d", "good", "vendor fixed it", "someone", story.now - 300)
    settings = SettingsRecord(at, "w", "change", "0a1b", {"mode": ["apply", "observe"]})
    insert_all(story.connection, [word, settings])
    (while_it_held,) = views.why(story.connection, "d", at + 60, past=True)
    (later,) = views.why(story.connection, "d", story.now, past=True)
    kinds_told = {entry["kind"] for entry in views.audit(story.connection)}
    tier = views.tiers(story.connection, at + 60)[0]["deployments"][-1]
    story.connection.rollback()
    assert (while_it_held["tier"], while_it_held["override"]["measured_tier"]) == ("verified_good", "deranked")
    assert "because of an operator's override to good" in why_sentence(while_it_held, UTC)
    assert (later["tier"], later["override"]) == ("deranked", None)
    assert kinds_told == {"transition", "override", "settings"}
    assert tier["override"]["reason"] == "vendor fixed it"


def test_what_was_observed_stands_beside_the_tier(story: Story) -> None:
    """The last hour that was written down, for as long as it says something, whichever version wrote it."""
    numbers = {"token_burn": 0.42, "burn_answers": 300, "queue_s": 1.25, "queue_answers": 40, "from_later": 1}
    insert_all(story.connection, [ObservedRecord(story.now - 7200, "g", "d", "w", numbers)])
    told, later = (
        {one["deployment"]: one["observed"] for one in views.tiers(story.connection, at)[0]["deployments"]}
        for at in (story.now, story.now + 3700)
    )
    story.connection.rollback()
    assert told["d"]["token_burn"] == {"value": 0.42, "samples": 300, "flagged": True}
    assert observed_words(told["d"]) == "tokens +42%!, queue 1.2 s"
    assert observed_words(told["a"]) == observed_words(later["d"]) == "-"


def test_a_request_is_found_by_either_id(story: Story) -> None:
    """By the decision's id or LiteLLM's; its candidates carry the reasons of that time."""
    state, _, _ = asked("a", "b", call_id="litellm-77")
    state.attempts = [attempt("a", ended=True, failure="500"), attempt("b", verdict="valid")]
    (record,) = kinds([state])
    insert_all(story.connection, [record])
    by_id = views.decision(story.connection, state.decision_id)
    by_call = views.decision(story.connection, "litellm-77")
    story.connection.rollback()
    assert by_id == by_call
    assert by_id is not None
    assert views.decision(story.connection, "unknown") is None
    told = request_sentence(by_id, UTC)
    assert "had the policy auto: tiers put the best first." in told
    assert "Attempt 1, a, failed with 500. Attempt 2, b, answered, valid." in told
