"""A router's public methods that a version lacks cost nothing but themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.config.settings import Settings
from exacto_plugin.litellm_hooks import sdk_entries
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.sdk_entries import RouterEntries

if TYPE_CHECKING:
    import pytest


class _Router:
    """One with two methods only."""

    model_list = ()

    async def acompletion(self, model: str, **kwargs: Any) -> str:
        return model

    def embedding(self, model: str, **kwargs: Any) -> str:
        return model


async def test_missing_methods_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rerank, speech or transcription: the others are read, and no feature is off."""
    monkeypatch.setattr(sdk_entries, "loops_in_python", lambda: False)
    runtime, router = Runtime(Settings()), _Router()
    token = CURRENT.set(None)
    entries = RouterEntries(runtime.context, runtime.routers, lambda *_: None)
    entries.wrap(router)
    assert entries.gaps() == []
    assert vars(router).keys() == {"acompletion", "embedding"}
    assert await router.acompletion("m") == "m"
    assert router.embedding("m") == "m"
    assert CURRENT.get() is not None
    entries.unwrap(router)
    assert not vars(router)
    CURRENT.reset(token)
