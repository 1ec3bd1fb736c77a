"""What a client may send: slugs, JSON bodies, bytes that are nearly JSON, content types, bodies in pieces."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES, Resolution
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY

Message = dict[str, Any]

OURS = tuple(SORTING_SUFFIXES)
KNOWN = ("a", "b", "a:8b", "b:free", "a:exacto", "b:floor:8b")
"""Model names that exist; some end with, or hold, a suffix of ours."""
WILDCARD = "w/"


def resolve(name: str) -> Resolution:
    """Knows ``KNOWN`` by name and everything under ``WILDCARD`` by pattern."""
    if name in KNOWN:
        return Resolution.EXACT
    return Resolution.PATTERN if name.startswith(WILDCARD) else Resolution.UNKNOWN


_part = st.sampled_from([*OURS, "a", "b", "8b", "free", "w/x", "zzz", "", " ", "é", "EXACTO"]) | st.text(max_size=4)
slugs = st.one_of(
    st.builds(
        lambda base, suffixes: ":".join([base, *suffixes]),
        st.sampled_from([*KNOWN, "w/x"]),
        st.lists(st.sampled_from([*OURS, "free"]), max_size=4),
    ),
    st.lists(_part, min_size=1, max_size=5).map(":".join),
)
batches = st.lists(slugs, min_size=2, max_size=3).map(", ".join)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, 2**64 - 1, -(2**63), 1e308, 5e-324, -0.0, 1.5]),
    st.text(max_size=5),
    slugs,
)
_wide = _scalars | st.sampled_from([2**64, -(2**70), 10**400, float("nan"), float("inf")])
"""Further numbers that Python's parser reads and orjson does not."""


@functools.cache
def json_values(scalars: st.SearchStrategy[Any] = _scalars) -> st.SearchStrategy[Any]:
    """Any JSON value."""
    keys = st.text(max_size=4) | st.sampled_from(["model", SUFFIXES_KEY, "models", "fallbacks", "metadata"])
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )


_entries = st.one_of(
    slugs,
    slugs,
    st.fixed_dictionaries({"model": slugs}, optional={SUFFIXES_KEY: slugs, "temperature": st.just(0)}),
    st.dictionaries(slugs, st.lists(slugs, max_size=3), max_size=2),
    json_values(),
)


@functools.cache
def bodies(scalars: st.SearchStrategy[Any] = _scalars) -> st.SearchStrategy[dict[str, Any]]:
    """Request bodies: what is ours to read, right and wrong, among what is not."""
    values = json_values(scalars)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "model": slugs | slugs | batches | values,
        "models": st.lists(slugs, max_size=4) | values,
        "fallbacks": st.lists(_entries, max_size=4) | values,
        "provider": st.fixed_dictionaries({"sort": st.sampled_from(["price", "latency", 1])}) | values,
        SUFFIXES_KEY: slugs | values,
        "metadata": values,
        "messages": st.lists(values, max_size=2),
        "tools": st.lists(values, max_size=2),
        "stream": st.booleans(),
    }
    known = st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: fields[name] for name in chosen})
    )
    return st.builds(
        lambda own, other: {**other, **own}, known, st.dictionaries(st.text(max_size=4), values, max_size=1)
    )


def _deep(depth: int, model: str) -> bytes:
    return json.dumps({"model": model}).encode()[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"


def _twice(body: dict[str, Any], again: dict[str, Any]) -> bytes:
    """An object in which names stand twice; the last one counts."""
    first, second = (json.dumps(each).strip()[1:-1] for each in (body, again))
    return f"{{{first}{', ' if first and second else ''}{second}}}".encode()


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """JSON with something cut out, put in or put before it."""
    raw = json.dumps(draw(bodies(_wide)), ensure_ascii=draw(st.booleans())).encode()
    place = draw(st.integers(0, len(raw)))
    inside = draw(st.sampled_from([b"", b"\x00", b"\xff", b"\\ud800", b"\xed\xa0\x80", b"NaN", b"//", b"}", b","]))
    return raw[:place] + inside + raw[place + draw(st.integers(0, 2)) :]


raw_bodies = st.one_of(
    bodies(_wide).map(lambda body: json.dumps(body).encode()),
    bodies().map(lambda body: json.dumps(body, ensure_ascii=False, indent=1).encode()),
    st.builds(_twice, bodies(), bodies()),
    _damaged(),
    bodies().map(lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode()),
    bodies().map(lambda body: json.dumps(body).encode("utf-16")),
    st.builds(lambda text: json.dumps({"model": "a:exacto", "x": text}).encode(), st.text(st.characters(), max_size=4)),
    st.builds(_deep, st.integers(1, 1300), slugs),
    json_values(_wide).map(lambda value: json.dumps(value).encode()),
    st.integers(4_290, 4_310).map(lambda digits: b'{"model": "a:floor", "seed": ' + b"9" * digits + b"}"),
    st.binary(max_size=20),
)
"""Bodies as they travel: JSON of every kind, and what is none."""

content_types = st.sampled_from(
    [
        (b"application/json",),
        (b"application/json",),
        (b"Application/JSON; charset=utf-8",),
        (b"application/vnd.api+json",),
        (),
        (b"",),
        (b"text/plain",),
        (b"\xff;;",),
        (b"application/x-protobuf",),
        (b"application/x-www-form-urlencoded",),
        (b"multipart/form-data; boundary=x",),
        (b"multipart/form-data",),
        (b"text/plain", b"application/json"),
        (b"application/json", b"application/x-www-form-urlencoded"),
    ]
)
"""Values of ``content-type``: none, one or several."""


@dataclass(frozen=True)
class Delivery:
    """The messages by which a server hands a body on."""

    messages: tuple[Message, ...]
    whole: bool
    """False when the client left before its end."""


@st.composite
def deliveries(draw: st.DrawFn, raw: bytes) -> Delivery:
    """A body in pieces of any size, some of them empty; now and then its client leaves on the way."""
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if draw(st.integers(0, 4)) == 0:
        return Delivery(tuple(messages[: draw(st.integers(0, len(messages)))]), whole=False)
    last = messages[-1]
    last["more_body"] = False
    if draw(st.booleans()):
        del last["more_body"]
    if not last["body"] and draw(st.booleans()):
        del last["body"]
    return Delivery(tuple(messages), whole=True)
