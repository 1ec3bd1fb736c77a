"""The words on an incident: one rate with its count, times with their ends, kinds by count, traffic, the way back."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.audit.incidents.incident_paragraph import headline, incident_parts, incident_sentence
from exacto_plugin.audit.incidents.incident_sentences import at_the_derank, how_bad, kind_shares, traffic_words
from exacto_plugin.audit.incidents.incident_times import onset_words, recovery_event, recovery_words

NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""
MINUTE = 60.0


def change(**more: Any) -> dict[str, Any]:
    """A change of calls, as it is on record with a derank."""
    found = {
        "at": NOON - 17 * MINUTE,
        "earliest": NOON - 20 * MINUTE,
        "latest": NOON - 15 * MINUTE,
        "gradual": False,
        "usual": 0.007,
        "share": 0.25,
        "calls": 44,
        "bad": 11,
        "called_until": NOON - 17 * MINUTE,
        "bad_until": NOON - 50 * MINUTE,
    }
    return {**found, **more}


def incident(**more: Any) -> dict[str, Any]:
    """An open incident of a deployment that was deranked at noon."""
    found = {
        "deployment": "d",
        "provider": "acme",
        "model_group": "g",
        "since": NOON,
        "until": None,
        "open": True,
        "end": None,
        "onset": NOON - 17 * MINUTE,
        "signal": "tool_call_success",
        "change": change(),
        "last_calls": {"since": NOON - 3600.0, "calls": 39, "bad": 12},
        "recovered": None,
        "better": None,
        "good_again": None,
        "kinds": {"schema_mismatch": 8.0, "lost": 4.0},
        "answers": 55.0,
        "bad": 12.0,
        "bad_until": 11.0,
        "others_now": {"a": 0.26, "b": 0.24, "c": 0.25, "e": 0.25},
        "moved": 1998.0,
        "saved": 331.0,
        "saved_low": 210.0,
        "saved_high": 452.0,
        "would_move": 0.0,
        "would_save": 0.0,
        "rescued": 0.0,
        "cost_usd": None,
        "traffic": {"before": 0.1971, "meanwhile": 0.0001, "after": None},
    }
    return {**found, **more}


def closed(**more: Any) -> dict[str, Any]:
    """The same, three hours later."""
    traffic = {"before": 0.1971, "meanwhile": 0.0001, "after": 0.2}
    return incident(open=False, until=NOON + 180 * MINUTE, traffic=traffic, **more)


def test_one_rate_stands_in_the_paragraph() -> None:
    """That from the onset to the derank, with its count; every other percentage says of what it is."""
    told = incident_sentence(incident())
    assert "Its calls became bad between 2027-01-15 11:40 and 11:45 UTC (95 %), most likely 11:43." in told
    assert "From 11:43 to the derank 25.0 % of its tool calls were bad (11 of 44); before that 0.70 %." in told
    assert "30.8 %" not in told
    assert "of its 55" not in told
    assert how_bad(incident()) == "25.0 % of its tool calls bad (11 of 44); before 0.70 %"


def test_an_uncertain_onset_has_the_share_from_its_earliest_time() -> None:
    """A slow rise that looks like a sudden one has fewer bad calls than from its most likely time on."""
    wide = change(earliest=NOON - 80 * MINUTE, most_calls=610, most_bad=31)
    told = incident_sentence(incident(change=wide))
    assert "(11 of 44); if it began slowly at 10:40, 5.08 % (31 of 610); before that 0.70 %." in told
    near = change(most_calls=61, most_bad=12)
    assert "slowly" not in incident_sentence(incident(change=near))


def test_a_deployment_that_is_gone_is_told_so() -> None:
    """Its incident did not end with a readmission."""
    told = incident_sentence(closed(end="gone"))
    assert "to 15:00 UTC (no longer served), 17 min after the onset, for bad tool calls." in told


def test_a_rise_says_from_what_to_what_and_its_average() -> None:
    """And when it began is an interval."""
    rise = change(gradual=True, at=NOON - 60 * MINUTE, earliest=NOON - 100 * MINUTE, share=0.119, calls=418, bad=29)
    told = incident_sentence(incident(change=rise))
    assert (
        "rose gradually from 0.70 % to about 12.0 % at the derank; on average 6.94 % were bad from 11:00 to the derank "
        "(29 of 418)."
    ) in told
    assert "The rise began between 2027-01-15 10:20 and 11:45 UTC (95 %), probably about 11:00." in told
    assert onset_words(incident(change=rise)).startswith("gradually, from between")


def test_a_deployment_that_was_bad_from_its_first_call_has_no_share_before() -> None:
    """A share of no calls is none: the peers' was told as its own, with an interval before its first call."""
    first = change(usual=None, usual_calls=0, calls_before=0, called_until=None)
    told = incident_sentence(incident(change=first))
    assert "From 11:43 to the derank 25.0 % of its tool calls were bad (11 of 44). Of its 12" in told
    assert "It was bad from its first call on record, most likely, at 2027-01-15 11:43 UTC." in told
    assert "before that" not in told
    assert "became bad" not in told
    assert how_bad(incident(change=first)) == "25.0 % of its tool calls bad (11 of 44)"
    assert onset_words(incident(change=first)) == "from its first call on record, most likely, at 2027-01-15 11:43 UTC"


def test_too_few_calls_before_tell_no_share() -> None:
    """With calls of an earlier time on record its first call is not meant either."""
    few = change(usual=None, usual_calls=3, calls_before=3)
    told = incident_sentence(incident(change=few))
    assert "(11 of 44); before that it had too few calls to tell a share." in told
    assert "Its calls became bad between" in told
    rise = incident(change=change(usual=None, usual_calls=0, calls_before=0, gradual=True, share=0.119))
    assert "rose gradually to about 12.0 % at the derank" in incident_sentence(rise)
    assert how_bad(rise).endswith("rising to about 12.0 %")
    assert onset_words(rise).startswith("gradually, from between")


def test_one_is_told_as_one() -> None:
    """Estimates have the number of their noun."""
    one = incident(moved=1.2, saved=0.9, would_move=1.0, would_save=1.4, rescued=1.0)
    told = incident_sentence(one)
    assert "Tiers sent about 1 request elsewhere, which saved about 1 bad call (95 %" in told
    assert "about 1 more elsewhere and saved about 1 more bad call; 1 was rescued." in told
    assert traffic_words(one).startswith("About 1 request went elsewhere")


def test_the_number_of_the_verdict_has_its_time() -> None:
    """It is of another window than the share from the onset to the derank."""
    judged = incident(value=0.868, threshold=0.95, samples=114, window_s=900.0)
    assert at_the_derank(judged) == "At the derank, over 15 min: 13.2 % of 114 calls bad (threshold 5.00 %)."
    slow = {**judged, "signal": "throughput", "value": 10.0, "threshold": 30.0}
    assert at_the_derank(slow) == "At the derank, over 15 min: 10 tokens/s of 114 answers (threshold 30 tokens/s)."
    assert at_the_derank({**judged, "value": None}) == "At the derank: not on record."


def test_kinds_are_counts_of_its_bad_calls() -> None:
    """They are no shares, which were read as shares of all calls."""
    told = incident_sentence(incident())
    assert (
        "Of its 12 bad calls since the onset (11 until the derank, 1 since) 8 had arguments against the schema, "
        "4 were lost."
    ) in told
    assert "%" not in kind_shares({"schema_mismatch": 8.0, "lost": 4.0})
    one = incident_sentence(incident(kinds={"unknown_name": 12.0}))
    assert "Its 12 bad calls since the onset (11 until the derank, 1 since): all with unknown tool names." in one


def test_the_headline_and_the_titles() -> None:
    """Deployment, provider, group and time first; then how bad, since when, traffic and the way back, in this order."""
    fresh = {"kind": "fresh_calls", "calls": 150, "bad_at_most": 1, "so_far": 0.0, "so_far_bad": 0.0}
    one = incident(way_back=[{**fresh, "next_trial_at": NOON + 180 * MINUTE, "asked_at": NOON + MINUTE}])
    first = headline(one)
    assert first.text == (
        "d (provider acme) is deranked in g since 2027-01-15 12:00 UTC, 17 min after the onset, for bad tool calls."
    )
    assert first.key == ("d (provider acme)", "since 2027-01-15 12:00 UTC", "17 min after the onset")
    parts = incident_parts(one)
    assert [part.title for part in parts] == ["How bad", "Since when", "Traffic", "Way back"]
    assert all(phrase in part.text for part in parts for phrase in part.key)
    assert all(part.key for part in parts)
    assert headline(incident(provider="d")).text.startswith("d is deranked in g since")


def test_where_the_traffic_went_and_what_it_saved() -> None:
    """The others' shares since, and an interval of the saved calls."""
    told = incident_sentence(incident())
    assert "since the derank; the other four now have about 25 % each." in told
    assert "Tiers sent about 1,998 requests elsewhere, which saved about 331 bad calls (95 %: 210 to 452)." in told
    some = incident(others_now={"a": 0.5, "b": 0.49, "c": 0.0})
    assert "; two others now have about 50 % each." in incident_sentence(some)
    assert "now have" not in incident_sentence(incident(others_now=None))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"next_trial_at": NOON + 180 * MINUTE}, "fresh calls, begins at 2027-01-15 15:00 UTC. Nothing has to be done"),
        ({"next_trial_at": None}, "may be bad. Nothing has to be done: where tiers are applied, it comes back by"),
        ({"bad_at_most": None}, "It does not come back by itself: that takes an operator's override."),
        ({"takes_s": 9e5, "kept_s": 2e5}, "It does not come back by itself: that takes an operator's override."),
    ],
)
def test_the_next_trial_and_what_an_operator_has_to_do(more: dict[str, Any], words: str) -> None:
    """A trial that is planned, and whether it comes back by itself."""
    fresh = {"kind": "fresh_calls", "calls": 150, "bad_at_most": 1, "so_far": 0.0, "so_far_bad": 0.0, "asked_at": NOON}
    assert words in incident_sentence(incident(way_back=[{**fresh, **more}]))


def test_what_is_over_has_an_end() -> None:
    """Nothing that is over is told with ``since`` alone."""
    told = incident_sentence(closed(recovered=change(at=NOON + 90 * MINUTE, called_until=NOON + 89 * MINUTE)))
    assert told.startswith("d (provider acme) was deranked in g from 2027-01-15 12:00 to 15:00 UTC, 17 min")
    assert "after the onset, for bad tool calls." in told
    assert "since" not in told
    assert "Of its 12 bad calls from the onset to the end" in told
    bare = incident_sentence(closed(change=None, value=0.7, threshold=0.9, samples=50, window_s=300.0))
    assert "from its onset to its end" in bare
    assert "since" not in bare


def test_the_traffic_before_and_since() -> None:
    """An open one before and since, an ended one after too; the first hour tells nothing yet."""
    assert (
        "It had 19.7 % of the group's answers with tools in the day before, under 0.1 % since the derank;"
        in incident_sentence(incident())
    )
    assert "under 0.1 % while deranked, 20.0 % after that." in incident_sentence(closed())
    young = incident(traffic={"before": 0.1971, "meanwhile": None, "after": None})
    assert "in the day before; no hour has begun since the derank" in incident_sentence(young)


@pytest.mark.parametrize("name", ["recovered", "better"])
def test_good_again_after_a_time_without_calls(name: str) -> None:
    """An interval with the calls in it, and no last bad call: a single one is no sign that the fault lasted."""
    begin, end = NOON + 5 * MINUTE, NOON + 240 * MINUTE
    again = change(at=end, called_until=NOON + 60 * MINUTE, bad_until=NOON + 60 * MINUTE, calls=273, bad=3)
    few = {"begin": begin, "end": end, "calls": 14, "bad": 1, "first": NOON, "last": NOON + 60 * MINUTE}
    one = incident(**{name: again}, good_again=few)
    words = "at some time between 2027-01-15 12:05 and 16:00 UTC (13 of 14 calls from 12:00 to 13:00 were good)"
    assert recovery_words(one).startswith(words)
    assert f"Its calls became good again {words}" in incident_sentence(one)
    event = recovery_event(one)
    assert event is not None
    assert words in event[1]
    none = incident(**{name: again}, good_again={**few, "calls": 0, "bad": 0, "first": None, "last": None})
    assert "(no calls between)" in recovery_words(none)


def test_good_again_with_calls_all_the_time() -> None:
    """The interval on record, to the minute; so in a record that does not tell the last calls."""
    again = change(at=NOON + 240 * MINUTE, called_until=NOON + 239 * MINUTE)
    assert recovery_words(incident(recovered=again)).endswith("(95 %), most likely 16:00")
    older = {key: value for key, value in again.items() if not key.endswith("_until")}
    assert recovery_words(incident(recovered=older)).endswith("(95 %), most likely 16:00")


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        (
            {"so_far": 41.0, "so_far_bad": 9.0, "bad_at_most": 1},
            "of 41 fresh calls 9 were bad; by the numbers of now, of 150 at most 1 may be.",
        ),
        (
            {"so_far": 0.0, "so_far_bad": 0.0, "bad_at_most": 0},
            "no fresh calls so far; by the numbers of now, of 150 none may be bad.",
        ),
        (
            {"so_far": 5.0, "so_far_bad": 0.0, "bad_at_most": None},
            "0 were bad; by the numbers of now, not even 150 without a bad one would bring it back.",
        ),
    ],
)
def test_why_it_is_not_back_yet(fresh: dict[str, Any], words: str) -> None:
    """Its fresh calls, against those that it takes; nothing of an incident that ended."""
    way_back = [{"kind": "run"}, {"kind": "fresh_calls", "calls": 150, **fresh}]
    told = incident_sentence(incident(way_back=way_back))
    assert "It is not back yet: " in told
    assert words in told
    assert "not back" not in incident_sentence(closed(way_back=way_back))
