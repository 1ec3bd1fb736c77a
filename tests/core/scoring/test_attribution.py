"""Every failed call is put down to whoever is at fault, and a tier counts what its preset says."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import Blame, Flaw, Outcome
from exacto_plugin.core.scoring.attribution import (
    Attribution,
    Ending,
    LossPolicy,
    ObservedAnswer,
    RequestExpectations,
    attribute,
)
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.flaws import BLAME, HIDDEN, LOSSES, FlawCounts

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "odd", "parameters": {"type": "dict"}}},
    {"type": "web_search_20250305", "name": "web_search"},
]
GOOD = ToolCall("weather", '{"city": "Lisbon"}')
BROKEN = ToolCall("weather", '{"city": "Lis')
STRANGE = ToolCall("forecast", "{}")
WRONG = ToolCall("weather", "{}")
ODD = ToolCall("odd", '{"a": 1}')
USER = {"role": "user", "content": "Weather?"}
ORPHAN = [USER, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
WEATHER = {"type": "function", "function": {"name": "weather"}}
UNOFFERED = {"type": "function", "function": {"name": "nothing"}}
PROVIDER, CALLER, LIMIT, CLIENT = Blame.PROVIDER, Blame.CALLER, Blame.LIMIT, Blame.CLIENT


class Case(NamedTuple):
    """A request's particulars, its answer, and what is to be said of it."""

    about: str
    flaws: tuple[Flaw, ...]
    blame: Blame | None
    calls: tuple[ToolCall, ...] = ()
    ending: Ending = Ending.CALLS
    choice: object = None
    history: object = (USER,)
    leaked: bool = False
    duplicate_ids: bool = False
    others: bool = False


CASES = (
    Case("a good call", (), None, (GOOD,)),
    Case("text", (), None, ending=Ending.STOP),
    Case("a parser that lost a brace", (Flaw.INVALID_JSON,), PROVIDER, (GOOD, BROKEN)),
    Case("a tool that is not offered", (Flaw.UNKNOWN_NAME,), PROVIDER, (STRANGE,)),
    Case("arguments that do not fit", (Flaw.SCHEMA_MISMATCH,), PROVIDER, (WRONG,)),
    Case("all at once", (Flaw.INVALID_JSON, Flaw.UNKNOWN_NAME, Flaw.SCHEMA_MISMATCH), PROVIDER,
         (WRONG, STRANGE, BROKEN)),
    Case("no call where one is announced", (Flaw.MISSING_CALL,), PROVIDER),
    Case("a call in the text", (Flaw.LEAKED_MARKUP,), PROVIDER, ending=Ending.STOP, leaked=True),
    Case("one call in the text, one not", (Flaw.LEAKED_MARKUP,), PROVIDER, (GOOD,), leaked=True),
    Case("announced and in the text", (Flaw.LEAKED_MARKUP,), PROVIDER, leaked=True),
    Case("text though a call is demanded", (Flaw.IGNORED_CHOICE,), PROVIDER, ending=Ending.STOP, choice="required"),
    Case("text though a tool is named", (Flaw.IGNORED_CHOICE,), PROVIDER, ending=Ending.STOP, choice=WEATHER),
    Case("another tool than the named", (Flaw.IGNORED_CHOICE,), PROVIDER, (ToolCall("time", "{}"),), choice=WEATHER),
    Case("the named tool beside one that the provider runs", (), None, (GOOD, ToolCall("web_search", "{}")),
         choice=WEATHER),
    Case("the named tool", (), None, (GOOD,), choice=WEATHER),
    Case("a call though none is allowed", (Flaw.IGNORED_CHOICE,), PROVIDER, (GOOD,), choice="none"),
    Case("text as demanded", (), None, ending=Ending.STOP, choice="none"),
    Case("the demanded call is in the text", (Flaw.LEAKED_MARKUP,), PROVIDER, ending=Ending.STOP, choice="any",
         leaked=True),
    Case("text though a built-in tool is named", (), None, ending=Ending.STOP,
         choice={"type": "tool", "name": "web_search"}),
    Case("text though a built-in tool is demanded", (), None, ending=Ending.STOP, choice={"type": "web_search"}),
    Case("another call than of the named built-in tool", (), None, (GOOD,),
         choice={"type": "tool", "name": "web_search"}),
    Case("a demanded call that the provider runs itself", (), None, ending=Ending.STOP, choice="required", others=True),
    Case("a refusal though a call is demanded", (), None, ending=Ending.REFUSAL, choice="required"),
    Case("two calls under one id", (Flaw.DUPLICATE_ID,), PROVIDER, (GOOD, GOOD), duplicate_ids=True),
    Case("a schema that is none", (Flaw.BROKEN_SCHEMA,), CALLER, (ODD,)),
    Case("a schema that is none beside a bad call", (Flaw.INVALID_JSON, Flaw.BROKEN_SCHEMA), PROVIDER, (ODD, BROKEN)),
    Case("no JSON for a schema that is none", (Flaw.INVALID_JSON,), PROVIDER, (ToolCall("odd", "{"),)),
    Case("a choice of a tool that is not offered", (Flaw.UNKNOWN_NAME, Flaw.CONTRADICTORY_CHOICE), CALLER,
         (ToolCall("nothing", "{}"),), choice=UNOFFERED),
    Case("text after such a choice", (Flaw.CONTRADICTORY_CHOICE,), CALLER, ending=Ending.STOP, choice=UNOFFERED),
    Case("a good call after such a choice", (Flaw.CONTRADICTORY_CHOICE,), CALLER, (GOOD,), choice=UNOFFERED),
    Case("a bad call after a torn history", (Flaw.SCHEMA_MISMATCH, Flaw.BROKEN_HISTORY), CALLER, (WRONG,),
         history=ORPHAN),
    Case("a good call after a torn history", (), None, (GOOD,), history=ORPHAN),
    Case("cut off by the limit", (Flaw.TRUNCATED,), LIMIT, (BROKEN,), Ending.LENGTH),
    Case("cut off by a filter", (Flaw.FILTERED,), LIMIT, (BROKEN,), Ending.FILTER),
    Case("the client left", (Flaw.DISCONNECTED,), CLIENT, (BROKEN,), Ending.CLIENT_LEFT),
    Case("cut off after a torn history", (Flaw.TRUNCATED,), LIMIT, (), Ending.LENGTH, history=ORPHAN),
)  # fmt: skip


def judged(case: Case) -> tuple[tuple[Evaluation, ...], Attribution]:
    """The verdicts on the calls of a case, as they are made of answers that were not cut off, and the attribution."""
    cut = case.ending in (Ending.LENGTH, Ending.FILTER, Ending.CLIENT_LEFT)
    evaluations = () if cut else Evaluator().evaluate_all(case.calls, TOOLS)
    reply = ObservedAnswer(case.calls, case.ending, case.leaked, case.duplicate_ids, case.others)
    return evaluations, attribute(RequestExpectations(TOOLS, case.choice, list(case.history)), reply, evaluations)  # type: ignore[call-overload]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_whose_fault_it_is(case: Case) -> None:
    """Flaws in a fixed order and one to blame."""
    _, found = judged(case)
    assert found == Attribution(case.flaws, case.blame)


def test_a_call_alone_tells_its_own_flaw() -> None:
    """What rescue and pages read of one verdict, without the rest of the answer."""
    judge = Evaluator()
    found = {
        call.name + str(call.arguments): judge.evaluate(call, TOOLS) for call in (GOOD, BROKEN, STRANGE, WRONG, ODD)
    }
    assert [each.flaw for each in found.values()] == [
        None, Flaw.INVALID_JSON, Flaw.UNKNOWN_NAME, Flaw.SCHEMA_MISMATCH, Flaw.BROKEN_SCHEMA,
    ]  # fmt: skip
    assert [each.blame for each in found.values()] == [None, PROVIDER, PROVIDER, PROVIDER, CALLER]
    assert Evaluation(Outcome.UNSCORED, "steps").blame is None


def test_every_flaw_has_somebody_to_blame() -> None:
    """A new flaw cannot be forgotten, and what tiers may count beside bad calls is the provider's."""
    assert set(BLAME) == set(Flaw)
    assert set(BLAME.values()) == set(Blame)
    assert all(BLAME[flaw] is PROVIDER for flaw in HIDDEN)
    assert set(LOSSES) < set(HIDDEN)


def test_open_sets_of_tools_contradict_nothing() -> None:
    """With an MCP server among the tools the named one may exist."""
    asked = RequestExpectations([*TOOLS, {"type": "mcp", "server_label": "files"}], UNOFFERED)
    assert attribute(asked, ObservedAnswer(), ()) == Attribution((Flaw.IGNORED_CHOICE,), PROVIDER)


def test_a_stored_conversation_is_not_torn() -> None:
    """The call of a result may be kept by the provider."""
    bad = Evaluator().evaluate_all([WRONG], TOOLS)
    sent = RequestExpectations(TOOLS, None, ORPHAN, whole_history=False)
    assert attribute(sent, ObservedAnswer((WRONG,), Ending.CALLS), bad).blame is PROVIDER


ADAPTIVE, PUBLISHED = LossPolicy(), LossPolicy(frozenset(), excuses_callers=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_what_tiers_count(case: Case) -> None:
    """``adaptive``: the provider's bad and lost calls. ``openrouter``: bad calls, whoever made them bad."""
    evaluations, found = judged(case)
    outcome = max((each.outcome for each in evaluations), default=None, key=lambda one: one is not Outcome.VALID)
    bad = outcome not in (None, Outcome.VALID)
    assert PUBLISHED.charged_outcome(outcome, found) == (outcome, False)
    lost = not bad and case.blame is PROVIDER and any(flaw in LOSSES for flaw in case.flaws)
    excused = bad and case.blame is CALLER
    wanted = None if lost else Outcome.UNSCORED if excused else outcome
    assert ADAPTIVE.charged_outcome(outcome, found) == (wanted, lost)


def test_what_is_lost_is_a_choice() -> None:
    """Each of the hidden flaws counts where it is listed, and nowhere else."""
    for flaw in HIDDEN:
        for listed in HIDDEN:
            charge = LossPolicy(frozenset({listed}), excuses_callers=False)
            assert charge.charged_outcome(Outcome.VALID, Attribution((flaw,), PROVIDER))[1] == (flaw is listed)
            assert charge.charged_outcome(Outcome.INVALID_JSON, Attribution((flaw,), PROVIDER)) == (
                Outcome.INVALID_JSON,
                False,
            )


def test_counts_are_kept_by_deployment() -> None:
    """Sums of what was seen, the totals also of deployments that are gone."""
    counts = FlawCounts()
    counts.add("kimi", "a", (Flaw.INVALID_JSON, Flaw.DUPLICATE_ID))
    counts.add("kimi", "a", (Flaw.INVALID_JSON,))
    counts.add("kimi", "b", (Flaw.TRUNCATED,))
    assert counts.of("kimi", "a") == {Flaw.INVALID_JSON: 2, Flaw.DUPLICATE_ID: 1}
    assert counts.of("glm", "a") == {}
    assert counts.deployments() == {("kimi", "a"), ("kimi", "b")}
    counts.drop([("kimi", "b"), ("kimi", "never seen")])
    assert counts.of("kimi", "a") == {Flaw.INVALID_JSON: 2, Flaw.DUPLICATE_ID: 1}
    assert counts.of("kimi", "b") == {}
    assert counts.total[Flaw.TRUNCATED] == 1
    assert counts.by_blame == {PROVIDER: 3, CALLER: 0, LIMIT: 1, CLIENT: 0}


@given(
    st.lists(st.sampled_from([GOOD, BROKEN, STRANGE, WRONG, ODD]), max_size=3),
    st.sampled_from(list(Ending)),
    st.sampled_from([None, "required", "none", WEATHER, UNOFFERED]),
    st.booleans(),
    st.sampled_from([(USER,), ORPHAN, None]),
)
def test_the_provider_is_blamed_for_nothing_but_its_own(
    calls: list[ToolCall], ending: Ending, choice: object, leaked: bool, history: Any
) -> None:
    """Whatever comes together: with another's fault the provider is excused, and tiers count no failure then."""
    evaluations = Evaluator().evaluate_all(calls, TOOLS)
    found = attribute(
        RequestExpectations(TOOLS, choice, history), ObservedAnswer(tuple(calls), ending, leaked), evaluations
    )
    assert (found.blame is None) == (not found.flaws)
    others = {BLAME[flaw] for flaw in found.flaws if flaw is not Flaw.BROKEN_SCHEMA} - {PROVIDER}
    if others:
        assert found.blame in others
        outcome, lost = ADAPTIVE.charged_outcome(Outcome.SCHEMA_MISMATCH, found)
        assert (outcome, lost) == (Outcome.UNSCORED, False)
    assert list(found.flaws) == sorted(set(found.flaws), key=list(Flaw).index)


@pytest.mark.parametrize(
    ("sent", "flaws"),
    [(None, ()), ("auto", ()), ("required", (Flaw.IGNORED_CHOICE,)), ({"type": "any"}, (Flaw.IGNORED_CHOICE,))],
)
def test_a_choice_that_was_not_sent_is_not_ignored(sent: object, flaws: tuple[Flaw, ...]) -> None:
    """LiteLLM drops choices that a provider does not know."""
    asked = RequestExpectations(TOOLS, "required", sent_choice=lambda: sent)
    assert attribute(asked, ObservedAnswer(), ()).flaws == flaws


def test_a_required_call_as_json_is_an_ignored_choice() -> None:
    """Without the requirement, or where it was not sent, it is a call in the text; both are lost."""
    answer = ObservedAnswer(written=True)
    for choice, sent, flaw in (
        ("required", "required", Flaw.IGNORED_CHOICE),
        ("required", None, Flaw.LEAKED_MARKUP),
        ("auto", "auto", Flaw.LEAKED_MARKUP),
    ):
        asked = RequestExpectations(TOOLS, choice, sent_choice=lambda sent=sent: sent)  # type: ignore[misc]
        found = attribute(asked, answer, ())
        assert (found.flaws, found.blame, found.lost) == ((flaw,), PROVIDER, True)
