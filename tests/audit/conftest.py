"""A story that is on record: three hours in which one of four deployments breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all
from tests.litellm_hooks.runtime.test_recorder import NAMES, World, asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


class Story:
    """Three hours in which ``d`` of model group ``g`` breaks after one, in a store; ``now`` is their end."""

    def __init__(self, url: str, connection: Connection, world: World, broke: float) -> None:
        self.url = url
        self.connection = connection
        self.broke = broke
        self.now = world.now


async def _serve(world: World) -> float:
    """The three hours; when it broke."""
    broke = 0.0
    for step in range(36):
        broke = broke or (world.now if step == 12 else 0.0)
        for name in NAMES:
            world.answers(name, 40, 12 if name == "d" and broke else 0)
        for _ in range(5):
            pool = NAMES[:3] if broke else NAMES
            world.runtime.recorder.record_decision(*asked(*pool))
        world.runtime.recorder.flush()
        await world.recompute()
    return broke


@pytest.fixture(scope="package")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story, written as a proxy writes it; tests only read it, or undo what they write."""
    world = World()
    broke = asyncio.run(_serve(world))
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/records.sqlite"
    with connect(location_of_url(url), writing=True) as connection:
        with connection.begin():
            insert_all(connection, world.kept)
        yield Story(url, connection, world, broke)
        connection.rollback()
