"""Samples for the tests of the statistics: one builder, and hypothesis strategies over everything a sample may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from exacto_plugin.core.model import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Tier

START = 1_800_000_000.0
"""A time at which every bucket width begins a period."""


def answer(deployment: str = "a", at: float = START, outcome: Outcome | None = Outcome.VALID, **more: object) -> Sample:
    """An answer of a deployment of group ``g`` to a request that offered tools."""
    return Sample("g", deployment, at, tools_offered=True, outcome=outcome, **more)  # type: ignore[arg-type]


def samples(
    deployments: tuple[str, ...] = ("a", "b", "c", "d", "e"), within_s: float = 7000.0, until_s: float = 0.0
) -> st.SearchStrategy[Sample]:
    """Any sample of group ``g`` that ended between ``within_s`` and ``until_s`` seconds before ``START``."""
    return st.builds(
        Sample,
        model_group=st.just("g"),
        deployment=st.sampled_from(deployments),
        at=st.floats(START - within_s, START - until_s),
        ok=st.booleans() | st.just(True),
        tools_offered=st.booleans() | st.just(True),
        outcome=st.none() | st.sampled_from(Outcome),
        lost=st.booleans(),
        output_tokens=st.integers(0, 5000),
        duration_s=st.floats(0, 500),
        first_token_s=st.none() | st.floats(0, 50),
        streamed=st.booleans(),
        routed=st.booleans(),
        caller=st.sampled_from(["", "k1", "k2"]),
        account=st.sampled_from(["", "u1"]),
        complexity=st.integers(-1, 5),
    )


def tiers_of(engine: Engine, model_group: str = "g") -> Mapping[str, Tier]:
    """The tier of every deployment of a group in the engine's snapshot."""
    return {name: verdict.tier for name, verdict in engine.snapshot.groups[model_group].verdicts.items()}
