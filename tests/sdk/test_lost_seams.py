"""A program with a LiteLLM that changed a private function: what is lost is told, and nothing else differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.litellm_hooks.request.state import CURRENT
from tests.support.private_seams import in_another_form, private_seams
from tests.support.proxy.openai_client import prices
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program
    from tests.sdk.test_limits import MakeExacto
    from tests.support.private_seams import PrivateSeam

SORTED = "price"


def _router(providers: SimulatedProviders) -> Any:
    """Two deployments, of which LiteLLM picks the dear one by weight, and one that always fails."""
    entries = [
        deployment(providers, "cheap", "kimi", **prices(1, 1)),
        deployment(providers, "dear", "kimi", weight=10**6, **prices(2, 2)),
        deployment(providers, "stuck", "stuck", **prices(1, 1)),
    ]
    providers.control.behave("stuck", always=500)
    return litellm.Router(model_list=entries, num_retries=0, disable_cooldowns=True)


@pytest.mark.parametrize("seam", private_seams(), ids=lambda seam: seam.name)
def test_a_lost_seam_is_told_and_breaks_nothing(
    providers: SimulatedProviders,
    make_exacto: MakeExacto,
    program: Program,
    seam: PrivateSeam,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every request is answered, nothing is claimed that was not done, and no key of the plugin's is sent on."""
    monkeypatch.setattr(seam.owner, seam.name, in_another_form(getattr(seam.owner, seam.name)))
    exacto = make_exacto(rescue={"enabled": True, "streams": True}, failover={"max_attempts": 2})
    router = _router(providers)
    exacto.attach(router)
    assert {name for name, one in exacto.features.items() if not one["on"]} == seam.features
    for model, more in (
        ("kimi", {}),
        ("kimi:floor", {}),
        ("kimi", {"provider": {"sort": SORTED}}),
        ("stuck", {"fallbacks": ["kimi:floor"]}),
    ):
        served = program.ask(router, model, **more)
        state = CURRENT.get()  # of synchronous requests only: others run in a context of their own
        if state is not None and state.routing.reported_sort.value == SORTED:
            assert served == "cheap", "a sort is told where it was applied"
        if (model, more) != ("kimi", {}) and not seam.features & {"sorts", "sync"}:
            assert served == "cheap", "a sort is applied while its feature is on"
    sent = [one["body"] for name in ("cheap", "dear") for one in providers.control.seen(name)]
    assert sent
    assert not any(body.keys() & {"provider", "exacto_suffixes", "fallbacks"} for body in sent)
    exacto.detach(router)
