"""What is added to answers on their way out: at the end of streams however they are cut, and nothing on a fault."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.http.model_list import add_variants, listed_model
from exacto_plugin.litellm_hooks.http.response_rewrite import JsonBodyRewriter, LastEventRewriter, ModelNameRewriter

if TYPE_CHECKING:
    from collections.abc import Sequence


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (data if isinstance(data, bytes) else orjson.dumps(data)) + b"\n\n"


def chunk(finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat stream."""
    return {"choices": [{"index": 0, "delta": {"content": "é\\n\\n"}, "finish_reason": finish}], **more}


DONE = event(b"[DONE]")
USAGE = {"choices": [], "usage": {"total_tokens": 1}}
STOP = {"type": "message_stop"}
COMPLETED = {"type": "response.completed", "response": {"model": "x"}}
STREAMS = {
    "chat": ([event(chunk())], chunk("stop"), [DONE]),
    "two choices": ([event(chunk("stop"))], chunk("length"), [DONE]),
    "usage": ([event(chunk()), event(chunk("stop"))], USAGE, [DONE]),
    "litellm's usage": ([event(chunk("stop"))], chunk(usage={"total_tokens": 1}), [DONE]),
    "error": ([event(chunk())], {"error": {"message": "x"}}, [DONE]),
    "no done": ([event(chunk())], chunk("tool_calls"), []),
    "messages": ([event({"type": "message_start"}, "message_start")], STOP, []),
    "responses": ([event({"type": "response.created", "response": {}})], COMPLETED, [DONE]),
    "comments": ([b": ping\n\n", event(chunk())], chunk("stop"), [b": ping\n\n", DONE]),
}


def added(data: bytes) -> bytes:
    """Add one key."""
    return orjson.dumps({**orjson.loads(data), "more": 1})


@pytest.mark.parametrize("name", STREAMS)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_the_last_event_is_found(name: str, cuts: list[int]) -> None:
    """Wherever a stream is cut into messages, exactly its last event has the addition, and all else is as it was."""
    before, last, after = STREAMS[name]
    stream = b"".join([*before, event(last), *after])
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    finder = LastEventRewriter(added)
    pieces = [stream[a:b] for a, b in pairwise(places)]
    out = b"".join(finder.feed(piece, ends=False) for piece in pieces) + finder.feed(b"", ends=True)
    assert out == b"".join([*before, event({**last, "more": 1}), *after])


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_bytes_pass(data: bytes, cut: int) -> None:
    """What is no stream of events goes out as it came."""
    finder = LastEventRewriter(lambda _data: None)
    assert finder.feed(data[:cut], ends=False) + finder.feed(data[cut:], ends=True) == data


def test_nothing_is_kept_back_before_the_end() -> None:
    """An event that is not the last goes out with the message that brought it."""
    finder = LastEventRewriter(added)
    for data in (chunk(), {"type": "response.output_text.delta"}, {"type": "content_block_delta"}):
        assert finder.feed(event(data), ends=False) == event(data)


async def sent(messages: Sequence[dict[str, Any]], add: Any, faults: FaultReporter) -> list[Any]:
    """What goes out of these messages."""
    out: list[Any] = []

    async def send(message: Any) -> None:
        out.append(message)

    through = JsonBodyRewriter(send, add, faults)
    for message in messages:
        await through(message)
    return out


def answer(body: bytes, kind: bytes = b"application/json", *extra: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    """The messages of a whole answer."""
    headers = [(b"Content-Type", kind), (b"content-length", str(len(body)).encode()), *extra]
    return [
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]


def add(found: dict[str, Any]) -> bool:
    """Add one key."""
    found["more"] = 1
    return True


async def test_a_whole_answer() -> None:
    """The body has the addition, and its length is told."""
    start, body = await sent(answer(b'{"a": 1}'), add, FaultReporter(lambda _stage: None))
    assert orjson.loads(body["body"]) == {"a": 1, "more": 1}
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


def _fail(_found: dict[str, Any]) -> bool:
    raise RuntimeError


@pytest.mark.parametrize(
    ("messages", "adding", "faults"),
    [
        (answer(b'{"a": 1}'), _fail, 1),
        (answer(b"{"), add, 1),
        (answer(b"[1]"), add, 0),
        (answer(b'{"a": 1}', b"text/plain"), add, 0),
        (answer(b'{"a": 1}', b"application/json", (b"content-encoding", b"gzip")), add, 0),
        (answer(b'{"a": 1}'), lambda _found: False, 0),
        (answer(event(chunk("stop")), b"text/event-stream"), _fail, 1),
    ],
)
async def test_what_stays_as_it_is(messages: list[dict[str, Any]], adding: Any, faults: int) -> None:
    """Other kinds of answers, broken ones, and any fault of ours: the client gets what LiteLLM sent."""
    counted = FaultReporter(lambda _stage: None)
    assert await sent(messages, adding, counted) == messages
    assert sum(counted.counts.values()) == faults


async def named(messages: Sequence[dict[str, Any]], name: Any, faults: FaultReporter) -> list[Any]:
    """What goes out of these messages under a name."""
    out: list[Any] = []

    async def send(message: Any) -> None:
        out.append(message)

    through = ModelNameRewriter(send, name, faults)
    for message in messages:
        await through(message)
    return out


NAMED = {
    "chat": {"id": "1", "model": "theirs", "choices": []},
    "responses": {"type": "response.created", "model": "x:floor", "response": {"model": "theirs", "output": []}},
    "messages": {"type": "message_start", "message": {"model": "theirs", "content": []}},
}


def _stream(data: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    (start, _) = answer(b"", b"text/event-stream; charset=utf-8")
    bodies = [{"type": "http.response.body", "body": piece, "more_body": True} for piece in pieces]
    return [start, *bodies, {"type": "http.response.body", "body": b""}]


@pytest.mark.parametrize("kind", NAMED)
@given(cuts=st.lists(st.integers(0, 400), max_size=6), ends=st.sampled_from([b"", b"data: {half"]))
async def test_every_event_carries_the_name(kind: str, cuts: list[int], ends: bytes) -> None:
    """Wherever a stream is cut into messages, the model is the client's in each event, and all else is as it was."""
    text = {"delta": 'a "model":"theirs" in a text', "type": "response.output_text.delta"}
    before = [b": ping\n\n", event(NAMED[kind], "x"), event(text), event({"model": "x:floor", "n": 1.0}), DONE]
    mine = orjson.loads(orjson.dumps(NAMED[kind]).replace(b'"theirs"', b'"x:floor"'))
    faults = FaultReporter(lambda _stage: None)
    out = await named(_stream(b"".join([*before, ends]), cuts), lambda: "x:floor", faults)
    before[1] = event(mine, "x")
    assert b"".join(message.get("body", b"") for message in out) == b"".join([*before, ends])
    assert len(out) == len(_stream(b"", cuts))
    assert faults.counts == {}


async def test_a_name_may_come_late() -> None:
    """A stream that moves on to another deployment in the middle has the other name from there on."""
    names = iter(["", "y", "y"])
    first, second = (event({"model": "theirs", "n": number}) for number in (1, 2))
    messages = [{"type": "http.response.body", "body": body, "more_body": True} for body in (first, second, b"")]
    (start, _) = answer(b"", b"text/event-stream")
    out = await named([start, *messages], lambda: next(names), FaultReporter(lambda _stage: None))
    assert [message["body"] for message in out[1:]] == [first, event({"model": "y", "n": 2}), b""]


async def test_a_whole_answer_carries_the_name() -> None:
    """It is written anew where it has another name, and only an answer with status 200 is."""
    counted = FaultReporter(lambda _stage: None)
    messages = answer(b'{"model": "theirs", "n": 1}')
    start, body = await named(messages, lambda: "x", counted)
    assert orjson.loads(body["body"]) == {"model": "x", "n": 1}
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    for same in (answer(b'{"model": "x"}'), answer(b'{"n": 1}'), [{**messages[0], "status": 400}, messages[1]]):
        assert await named(same, lambda: "x", counted) == same
    assert await named(messages, lambda: "", counted) == messages
    assert counted.counts == {}


def _no_name() -> str:
    raise RuntimeError


@pytest.mark.parametrize(
    ("messages", "name"),
    [
        (answer(b'{"model": "theirs"}'), _no_name),
        (answer(event({"model": "theirs"}), b"text/event-stream"), _no_name),
        (answer(b"{", b"application/json"), lambda: "x"),
        (answer(b'data: {"model":\n\n', b"text/event-stream"), lambda: "x"),
    ],
)
async def test_a_fault_leaves_the_name(messages: list[dict[str, Any]], name: Any) -> None:
    """The client gets what LiteLLM sent."""
    counted = FaultReporter(lambda _stage: None)
    assert await named(messages, name, counted) == messages
    assert set(counted.counts) == {"names"}


def test_variants() -> None:
    """Each name is followed by its variants, but for wildcards, for variants, and for names that are there already."""
    names = ["x", "y/*", "z:floor", "w", "w:exacto"]
    listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    assert add_variants(listed)
    expected = ["x", "x:exacto", "x:floor", "x:nitro", "y/*", "z:floor", "w", "w:floor", "w:nitro", "w:exacto"]
    assert [one["id"] for one in listed["data"]] == expected  # type: ignore[index]
    assert not add_variants({"data": None})


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/v1/models/x:exacto", "", ("/v1/models/", "x:exacto")),
        ("/models/a/b:floor", "", ("/models/", "a/b:floor")),
        ("/root/v1/models/x:exacto", "/root", ("/root/v1/models/", "x:exacto")),
        ("/exacto/api/models/x:exacto", "", None),
        ("/v1beta/models/x:exacto", "", None),
        ("/v1/models", "", None),
    ],
)
def test_one_model_of_the_catalogue(path: str, root: str, found: tuple[str, str] | None) -> None:
    """Paths that look one model up, below whatever root path; other paths with models in them are left alone."""
    assert listed_model(path, root) == found
