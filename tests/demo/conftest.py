"""Simulated providers over real HTTP, and clients of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from exacto_plugin.demo.behaviour import Behaviour
from exacto_plugin.demo.provider import SimulatedProviders

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedProviders]:
    """One server for all tests of this module; each test puts it back to the beginning."""
    with SimulatedProviders({"bad": Behaviour(error_rate=1.0)}) as running:
        yield running


@pytest.fixture(autouse=True)
def providers(server: SimulatedProviders) -> SimulatedProviders:
    """The server as it began."""
    server.control.reset()
    return server


@pytest.fixture(scope="module")
def client(server: SimulatedProviders) -> Iterator[openai.OpenAI]:
    """An OpenAI client of the provider ``p`` that does not retry."""
    with openai.OpenAI(api_key="sk-p", base_url=server.api_base("p"), max_retries=0, timeout=10.0) as made:
        yield made
