"""The ``provider`` object in Python: ``Router.acompletion`` without any proxy, over deployments that LiteLLM mocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]
FAILS = "litellm.InternalServerError"


def entry(name: str, group: str, answer: str = "hello", **info: Any) -> dict[str, Any]:
    """A deployment that answers, or fails, without any network."""
    return {
        "model_name": group,
        "litellm_params": {"model": "openai/m", "api_key": "sk-x", "mock_response": answer},
        "model_info": {"id": name, "provider": name, **info},
    }


@pytest.fixture
def router() -> Iterator[litellm.Router]:
    """Two that fail, two that answer, and a configured fallback."""
    callback = ExactoCallback(Runtime(Settings()))
    before, litellm.callbacks = litellm.callbacks, [callback]
    install_patches(callback)
    assert callback.runtime.context.features.off == {}
    token = CURRENT.set(None)
    router = litellm.Router(
        model_list=[
            entry("alpha", "g", FAILS),
            entry("beta", "g", FAILS),
            entry("gamma", "g", quantization="fp8"),
            entry("delta", "g", order=1),
            entry("else", "h"),
        ],
        num_retries=3,
        disable_cooldowns=True,
        fallbacks=[{"g": ["h"]}],
    )
    callback.runtime.routers.add(router)
    yield router
    CURRENT.reset(token)
    litellm.callbacks = before
    router_patches.uninstall()


async def served(router: litellm.Router, **more: Any) -> str:
    """Who answered."""
    answer: Any = await router.acompletion(model="g", messages=MESSAGES, **more)
    return str(answer._hidden_params["model_id"])


@pytest.mark.parametrize("wish", [{"only": ["gamma"]}, {"quantizations": ["fp8"]}, {"order": ["alpha", "gamma"]}])
async def test_wishes_as_an_argument_and_in_the_extra_body(router: litellm.Router, wish: dict[str, Any]) -> None:
    """Both ways mean the same."""
    assert await served(router, provider=wish) == "gamma"
    assert await served(router, extra_body={"provider": wish}) == "gamma"


async def test_refusals(router: litellm.Router) -> None:
    """A caller gets our own kind of LiteLLM's ``BadRequestError``,."""
    with pytest.raises(ExactoRefusedError, match=r"provider\.zdr"):
        await served(router, provider={"zdr": 1}, disable_fallbacks=True)
    with pytest.raises(ExactoRefusedError, match="only"):
        await served(router, provider={"only": ["nobody"]}, disable_fallbacks=True)


async def test_without_fallbacks(router: litellm.Router) -> None:
    """The listed fail, and neither the others nor the configured fallback are asked; its own fallbacks are."""
    wish = {"order": ["alpha", "beta"], "allow_fallbacks": False}
    assert await served(router, provider={"ignore": ["gamma", "delta"]}) == "else"
    with pytest.raises(litellm.InternalServerError):
        await served(router, provider=wish)
    state = CURRENT.get()
    assert state is not None
    assert state.tried == {"alpha", "beta"}
