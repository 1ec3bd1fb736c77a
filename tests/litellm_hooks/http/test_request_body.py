"""Bodies as LiteLLM reads them: what fuzzing found, one case each. The rule itself is in ``tests/fuzz``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exacto_plugin.core.routing.policy import MOST_SUFFIXES, Resolution, Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.deployments.model_names import CLIENT_MODEL_KEY
from exacto_plugin.litellm_hooks.http.request_body import Body, Message, is_json, parse_body, read_body, replay
from exacto_plugin.litellm_hooks.request.body import MOST_NAMES, batch_slugs, rewrite_body
from tests.fuzz.asgi import read
from tests.fuzz.bodies import Delivery

SLUG = b'{"model": "a:floor"}'
BARE = {"model": "a"}


def whole(raw: bytes) -> Delivery:
    """A body in one piece."""
    return Delivery(({"type": "http.request", "body": raw},), whole=True)


@pytest.mark.parametrize(
    ("types", "sent", "seen"),
    [
        ([b"text/plain"], SLUG, BARE),
        ([b""], SLUG, BARE),
        ([b"application/x-protobuf"], SLUG, BARE),
        ([b"application/x-www-form-urlencoded", b"application/json"], SLUG, BARE),
        ([b"application/json"], b'{"model": "a:floor", "seed": 18446744073709551616}', {**BARE, "seed": 2**64}),
        ([b"application/json"], b'{"model": "a:floor", "x": Infinity}', {**BARE, "x": float("inf")}),
        (
            [b"application/json"],
            b'{"model": "a", "exacto_suffixes": "nonsense", "x": -Infinity}',
            {**BARE, "x": -1e999},
        ),
    ],
)
def test_suffixes_come_off_whatever_litellm_reads_as_json(types: list[bytes], sent: bytes, seen: Any) -> None:
    """Under any content type but a form's, and with numbers that only LiteLLM's second parser reads."""
    found = read(whole(sent), types, plugin=True, raw_first=False)
    assert found.parsed == seen
    assert found.raw is not None
    assert json.loads(found.raw) == seen


def test_forms_are_left_alone() -> None:
    """Of several content types LiteLLM sees the last."""
    types = [(b"content-type", b"application/json"), (b"content-type", b"Multipart/Form-Data; boundary=x")]
    assert not is_json({"headers": types})
    assert is_json({"headers": types[:1]})


@pytest.mark.parametrize("raw", [b"\xff", b"{", b'"\\ud800"', b"9" * 5_000, b"[" * 3_000, b"\xef\xbb\xbf{}"])
def test_what_litellm_refuses_it_refuses_itself(raw: bytes) -> None:
    """Neither bytes that are no text, nor lone surrogates, nor what Python's parser cannot hold."""
    assert parse_body(raw, {"headers": []}) is None
    with_us, without = (read(whole(raw), [], plugin=plugin, raw_first=False) for plugin in (True, False))
    assert (with_us.parsed, with_us.raw) == (without.parsed, without.raw)


async def test_half_a_body_is_never_taken_for_the_whole() -> None:
    """A client that left before the end of its body: whoever reads it learns so, as it would without us."""
    messages: list[Message] = [{"type": "http.request", "body": SLUG, "more_body": True}, {"type": "http.disconnect"}]
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    body = await read_body(receive)
    assert body == Body(None, tuple(messages))
    again = replay(body, None, receive)
    assert [await again() for _ in range(3)] == [*messages, messages[-1]]


def test_half_a_body_is_not_parsed() -> None:
    """What came so far may be an object by itself; LiteLLM reads nothing then, or from 1.108 on says that it left."""
    half = Delivery(({"type": "http.request", "body": SLUG, "more_body": True},), whole=False)
    with_us, without = (read(half, [], plugin=plugin, raw_first=False) for plugin in (True, False))
    assert (with_us.parsed, with_us.raw) == (without.parsed, None)
    assert with_us.parsed in ({}, ("HTTPException", "499: Client disconnected the request"))


def test_a_changed_body_is_written_as_it_is_parsed() -> None:
    """Large numbers and NaN too; what is nested too deeply to be written reaches those who read bytes unchanged."""
    deep = b'{"model": "a:floor", "x": ' + b"[" * 1_000 + b"]" * 1_000 + b"}"
    found = read(whole(deep), [], plugin=True, raw_first=False)
    assert found.parsed["model"] == "a"
    assert found.raw == deep
    assert read(whole(b'{"model": "a:floor", "x": NaN}'), [], plugin=True, raw_first=False).raw == (
        b'{"model":"a","x":NaN}'
    )


def test_a_path_is_written_as_it_travels() -> None:
    """``raw_path`` is the quoted form of ``path``."""
    path = "/openai/deployments/w/ä b%:floor/chat/completions"
    found = read(whole(b"{}"), [b"application/json"], path=path, plugin=True, raw_first=False)
    assert found.scope is not None
    assert found.scope[CLIENT_MODEL_KEY] == "w/ä b%:floor"
    assert found.scope["path"] == "/openai/deployments/w/ä b%/chat/completions"
    assert found.scope["raw_path"] == b"/openai/deployments/w/%C3%A4%20b%25/chat/completions"


def resolve(name: str) -> Resolution:
    """Knows ``a``."""
    return Resolution.EXACT if name == "a" else Resolution.UNKNOWN


def test_names_beyond_a_bound_are_left_as_they_are() -> None:
    """Taking apart takes time for every name and suffix, and anybody may send any number of them."""
    most, more = "a" + ":floor" * MOST_SUFFIXES, "a" + ":floor" * (MOST_SUFFIXES + 1)
    assert split_slug(most, resolve) == Slug("a", ("floor",) * MOST_SUFFIXES)
    assert split_slug(more, resolve) == Slug(more)
    forged = {"model": "a", SUFFIXES_KEY: "x"}
    names = ["a:floor"] * (MOST_NAMES + 1)
    body: dict[str, Any] = {"model": "a", "models": names, "fallbacks": [*names, forged]}
    assert rewrite_body(body, resolve) is None
    assert body == {"model": "a", "models": names, "fallbacks": [*names, {"model": "a"}]}
    assert batch_slugs(",".join(names), resolve) is None
    assert batch_slugs(",".join(names[1:]), resolve) == {"a": [Slug("a", ("floor",))] * MOST_NAMES}
