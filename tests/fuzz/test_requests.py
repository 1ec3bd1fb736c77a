"""What is read of a request beside its model: whatever a client writes there, it is understood, refused or ignored."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import strategies as st

from exacto_plugin.core.model import Blame, Outcome
from exacto_plugin.core.routing.filters import BLOCK
from exacto_plugin.core.scoring.attribution import Ending, ObservedAnswer, RequestExpectations, attribute
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.flaws import BLAME
from exacto_plugin.core.scoring.message_history import is_broken
from exacto_plugin.core.scoring.tool_choice import ChoiceMode, read_choice
from exacto_plugin.core.scoring.tools import complexity, find_tool, is_open_set
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.conversation_key import conversation_of, share_of
from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults
from exacto_plugin.litellm_hooks.request.provider_object import NO_PREFERENCES, ProviderObject, read_provider
from exacto_plugin.litellm_hooks.request.provider_state import provider_state_of
from tests.fuzz.bodies import json_values
from tests.fuzz.examples import fuzz
from tests.fuzz.requests import choices, histories, identifiers, provider_objects


def _nested(depth: int) -> Any:
    made: Any = "x"
    for _ in range(depth):
        made = [made]
    return [{"role": "user", "content": made}]


_replies = st.builds(
    ObservedAnswer,
    st.lists(st.builds(ToolCall, st.sampled_from(["called", "other", ""]), st.just("{}")), max_size=2).map(tuple),
    st.sampled_from(Ending),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
_evaluations = st.lists(st.builds(Evaluation, st.sampled_from(Outcome), st.just("")), max_size=2)


@fuzz(json_values(), choices, histories, _replies, _evaluations)
def test_somebody_is_to_blame_or_nobody(
    tools: Any, choice: Any, history: Any, reply: ObservedAnswer, evaluations: list[Evaluation]
) -> None:
    """Any request and any answer: flaws are told once, in order, and blamed on one whom one of them concerns."""
    asked = RequestExpectations(tools if isinstance(tools, list) else [tools], choice, history)
    before = copy.deepcopy((choice, history))
    found = attribute(asked, reply, evaluations)
    assert (choice, history) == before
    assert len(set(found.flaws)) == len(found.flaws)
    assert (found.blame is None) == (not found.flaws)
    assert found.blame is None or found.blame in {BLAME[flaw] for flaw in found.flaws}
    if reply.ending is Ending.CLIENT_LEFT:
        assert found.blame is Blame.CLIENT


@fuzz(choices)
def test_any_choice_demands_something(choice: Any) -> None:
    """Names are text, and somebody who names tools does not forbid them."""
    demanded = read_choice(choice)
    assert {type(name) for name in demanded.names} <= {str}
    assert "" not in demanded.names
    assert demanded.mode is not ChoiceMode.NONE or not demanded.names


@fuzz(histories, st.booleans())
def test_any_history_is_whole_or_broken(history: Any, complete: bool) -> None:
    """What came before and is kept elsewhere excuses, it never accuses."""
    if is_broken(history, complete=False):
        assert is_broken(history)
    assert isinstance(is_broken(history, complete=complete), bool)


@fuzz(st.lists(json_values(), max_size=4), st.sampled_from(["called", "", "model"]))
def test_any_tools_are_counted(tools: list[Any], name: str) -> None:
    """A bucket of four, and more tools never make a request simpler."""
    assert 0 <= complexity(tools) <= complexity([*tools, *tools]) <= 3
    assert isinstance(is_open_set(tools), bool)
    assert find_tool(tools, name) is None or name


@fuzz(provider_objects)
def test_a_provider_object_is_understood_or_refused(provider: Any) -> None:
    """Understood: a second reading says the same. Refused: 400, as JSON, naming the place."""
    before = repr(provider)
    refusal = None
    try:
        read = read_provider(provider, "group")
    except ExactoRefusedError as error:
        refusal = error.refusal
    assert repr(provider) == before
    if refusal is not None:
        told = orjson.loads(refusal.body())["error"]
        assert refusal.status == 400
        assert told["param"].startswith("provider")
        assert told["param"] in told["message"]
        assert len(told["message"]) < 1_000
        return
    assert read is NO_PREFERENCES or ProviderObject.model_validate(provider) == read
    assert all(wish.bound > 0 for wish in read.preferences)
    assert all(one.value for one in read.filters())


@fuzz(provider_objects, st.sampled_from(["metadata", "litellm_metadata"]))
def test_a_callers_block_is_read_as_far_as_it_makes_sense(block: Any, name: str) -> None:
    """A malformed limit is closed, what else is malformed is left out; both are counted; the rest holds."""
    faults = FaultReporter(lambda _stage: None)
    found = KeyDefaults(faults).of({name: {"user_api_key_metadata": {BLOCK: block}}})
    closed = any(one.expected for one in found.filters)
    assert set(faults.counts) <= {"caller_limits" if closed else "caller_metadata"}
    assert all(bool(one.value) is not bool(one.expected) for one in found.filters)


def _is_said(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") not in ("system", "developer")


_deep = st.integers(1, 1_000).map(_nested)
_conversations = st.dictionaries(
    st.sampled_from(["messages", "input", "system", "instructions", "session_id", "prompt_cache_key", "extra_body"]),
    histories | json_values() | _deep | st.text(max_size=4),
    max_size=4,
)


@fuzz(_conversations, st.booleans(), histories | _deep)
def test_any_request_has_a_conversation_or_none(kwargs: Any, responses: bool, later: Any) -> None:
    """The same beginning is the same conversation, whatever a client sends as messages and however deep."""
    metadata: dict[str, Any] = {"user_api_key_hash": "k"}
    kwargs = {**kwargs, **({"litellm_metadata": {}} if responses else {})}
    found = conversation_of(kwargs, metadata, "group", b"salt")
    assert found == conversation_of(dict(kwargs), metadata, "group", b"salt")
    assert 0.0 <= share_of(found) <= 1.0
    messages = kwargs.get("messages")
    if found is not None and isinstance(messages, list) and any(map(_is_said, messages)):
        grown = conversation_of({**kwargs, "messages": [*messages, later]}, metadata, "group", b"salt")
        assert grown is not None
        assert grown.key == found.key


_sealed_blocks: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["thinking", "redacted_thinking", "reasoning.encrypted", "text", "", None, [], {}, 1]
            )
        },
        optional={"signature": st.sampled_from(["s", "", None, [], {}])},
    )
    | json_values(),
    max_size=2,
)
_sealed: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"role": st.sampled_from(["assistant", "assistant", "user", [], {}])},
    optional={
        **dict.fromkeys(("content", "thinking_blocks", "reasoning_details"), _sealed_blocks | json_values()),
        **dict.fromkeys(("encrypted_content", "id"), identifiers | json_values()),
        "type": st.sampled_from(["item_reference", "reasoning", [], {}]),
    },
)


@fuzz(
    st.lists(_sealed | json_values(), max_size=3) | json_values(),
    st.lists(_sealed, max_size=2) | json_values(),
    st.none() | identifiers | json_values(),
)
def test_any_request_is_bound_or_free(messages: Any, items: Any, previous: Any) -> None:
    """Ids and sealed blocks that a client made up bind to a deployment that is named by text, or to nobody."""
    for kwargs in ({"messages": messages}, {"input": items}, {"previous_response_id": previous}):
        bond = provider_state_of(kwargs, messages if isinstance(messages, list) else None)
        assert bond is None or isinstance(bond.deployment, str)
