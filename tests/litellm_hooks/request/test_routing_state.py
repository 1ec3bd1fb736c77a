"""The sort that clients are told of: the one that was applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Mode, Snapshot, Sort
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState

if TYPE_CHECKING:
    from exacto_plugin.core.decision import Decision

TWO = tuple(Candidate(LiteLLMId(name), DeploymentKey(name), name) for name in ("a", "b"))


def _decided(sort: Sort, *, tools: bool = True, mode: Mode = Mode.APPLY, in_share: bool = True) -> Decision:
    ask = RoutingRequest("g", TWO, Policy(sort=sort), tools=tools, mode=mode, in_share=in_share)
    return decide(ask, Snapshot("s", 0.0), lambda: 0.5, lambda _key: True)


@pytest.mark.parametrize("sort", [Sort.AUTO, Sort.EXACTO])
def test_tiers_that_are_not_applied_are_no_policy(sort: Sort) -> None:
    """A header that names them would claim what did not happen."""
    told = {
        "applied": _decided(sort),
        "observed": _decided(sort, mode=Mode.OBSERVE),
        "off": _decided(sort, mode=Mode.OFF),
        "outside of the share": _decided(sort, in_share=False),
    }
    found = {name: RoutingState(Policy(sort=sort), one).reported_sort for name, one in told.items()}
    assert found == {**dict.fromkeys(told, Sort.NONE), "applied": sort}


def test_without_tools_auto_sorts_nothing() -> None:
    """LiteLLM's own strategy picks, so the policy is none; an explicit sort holds, also while tiers are observed."""
    assert RoutingState(Policy(), _decided(Sort.AUTO, tools=False)).reported_sort is Sort.NONE
    price = _decided(Sort.PRICE, tools=False, mode=Mode.OBSERVE)
    assert RoutingState(Policy(sort=Sort.PRICE), price).reported_sort is Sort.PRICE
