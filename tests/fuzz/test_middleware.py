"""The middleware in front of LiteLLM's own body reader: it sees what it would see without us, but for what is ours."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st

from exacto_plugin.core.routing.policy import Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import CLIENT_MODEL_KEY, NameResolver
from exacto_plugin.litellm_hooks.http.model_routes import path_model
from exacto_plugin.litellm_hooks.request.body import needs_rewrite, rewrite_body
from tests.fuzz.asgi import read, router, runtime
from tests.fuzz.bodies import Delivery, content_types, deliveries, raw_bodies, slugs
from tests.fuzz.examples import fuzz


def _same(one: Any, other: Any) -> bool:
    """Equality in which NaN is itself, 1 is not true and an uploaded file is any other; at any depth."""
    waiting = [(one, other)]
    while waiting:
        left, right = waiting.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if list(left) != list(right):
                return False
            waiting += [(left[name], right[name]) for name in left]
        elif isinstance(left, list):
            if len(left) != len(right):
                return False
            waiting += zip(left, right, strict=True)
        elif repr(left) != repr(right):
            return False
    return True


@fuzz(st.data(), raw_bodies, content_types, st.booleans())
def test_litellm_reads_what_it_would_read_without_us(
    data: st.DataObject, raw: bytes, types: tuple[bytes, ...], raw_first: bool
) -> None:
    """Any bytes, in any pieces, under any content type: the same value or the same error, with our wishes taken out.

    The bytes, the parsed body and what the connection says next agree with each other and with bare LiteLLM.
    """
    delivery = data.draw(deliveries(raw))
    bare = read(delivery, types, plugin=False, raw_first=raw_first)
    ours = read(delivery, types, plugin=True, raw_first=raw_first)
    assert runtime().context.faults.counts == {}
    assert ours.after == bare.after
    form = any(kind in value for kind in (b"form-data", b"x-www-form") for value in types)
    wanted = dict(bare.parsed) if isinstance(bare.parsed, dict) else bare.parsed
    slug = None
    if isinstance(wanted, dict) and needs_rewrite(wanted) and not form:
        slug = rewrite_body(wanted, NameResolver(router()))
    assert _same(ours.parsed, wanted)
    if _same(wanted, bare.parsed):
        assert ours.raw == bare.raw
    elif ours.raw != raw:  # too deep to be written down again
        assert ours.raw is not None
        assert _same(json.loads(ours.raw), wanted)
    assert ours.scope is not None
    assert (CLIENT_MODEL_KEY in ours.scope) == (slug is not None)


_HEADS = ("/openai/deployments/", "/engines/", "/v1beta/models/", "/root/models/")
_TAILS = ("/chat/completions", "/embeddings", ":generateContent", ":streamGenerateContent", "/audio/speech", "")


@fuzz(
    st.sampled_from(_HEADS),
    slugs | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(_TAILS),
    raw_bodies,
)
def test_models_in_paths(head: str, model: str, tail: str, raw: bytes) -> None:
    """The path that goes on names the base; both of its forms say the same, and the body is read as ever."""
    path = f"{head}{model}{tail}"
    delivery = Delivery(({"type": "http.request", "body": raw},), whole=True)
    seen = read(delivery, (b"application/json",), path=path, plugin=True, raw_first=False)
    assert runtime().context.faults.counts == {}
    assert seen.scope is not None
    assert unquote(seen.scope["raw_path"].decode("ascii")) == seen.scope["path"]
    found = path_model(path)
    if found is not None:
        assert "".join(found) == path
    slug = split_slug(found.model, NameResolver(router())) if found is not None else Slug("")
    assert seen.scope["path"] == (f"{head}{slug.base}{tail}" if slug.suffixes else path)
