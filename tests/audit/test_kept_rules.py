"""Rules stay on record as long as anything that was concluded from them, however long a process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from exacto_plugin.audit import queries, views
from exacto_plugin.config.settings import Settings
from exacto_plugin.records import InputsRecord, RuleRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.pruning import Pruning
from exacto_plugin.store.rows import find, insert_all
from exacto_plugin.store.tables import table_of
from tests.litellm_hooks.runtime.test_recorder import NAMES, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

DAY_S = 86_400.0


def prune(connection: Connection, pruning: Pruning) -> None:
    """All that is due; at no time is a rule missing that something on record names."""
    while pruning.step(connection) < 1.0:
        assert orphans(connection) == set()
    assert orphans(connection) == set()


def orphans(connection: Connection) -> set[str]:
    """Rules that inputs name and that are not on record."""
    inputs, rules = table_of(InputsRecord), table_of(RuleRecord)
    named = set(connection.execute(select(inputs.c.rule).distinct()).scalars())
    return named - set(connection.execute(select(rules.c.digest)).scalars())


async def days(world: World, connection: Connection, number: int) -> None:
    """A deployment that breaks, judged twice a day, as records are written and pruned."""
    pruning = Pruning(lambda kind: world.runtime.context.settings.store.days(kind), lambda: world.now)
    for _ in range(2 * number):
        world.now += DAY_S / 2
        for name in NAMES:
            world.answers(name, 40, 20 if name == "d" else 0)
        await world.recompute()
        insert_all(connection, world.kept)
        world.kept.clear()
        prune(connection, pruning)


@pytest.mark.parametrize(
    ("store", "number"), [({}, 33), ({"retention": {"references": 1}}, 3), ({"retention": {"deployments": 1}}, 3)]
)
async def test_a_process_that_runs_for_long_can_be_verified(
    tmp_path: Path, store: Mapping[str, Any], number: int
) -> None:
    """Beyond the time that anything is kept, records of all its days are verified, and what is missing is told."""
    world = World({"store": store})
    with connect(location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}"), writing=True) as connection, connection.begin():
        await days(world, connection, number)
        found = queries.verify(connection)
        assert found.differences == []
        assert found.recomputes >= 2
        (told,) = views.why(connection, "d", world.now, past=False)
        assert told["tier"] == "deranked"
        assert told["way_back"]
        assert len(find(connection, RuleRecord)) == 1


async def test_a_rule_that_was_replaced_goes_with_what_was_concluded_from_it(tmp_path: Path) -> None:
    """Not before, however short references are kept; and not never."""
    world = World({"store": {"retention_days": 4, "retention": {"references": 1}}})
    with connect(location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}"), writing=True) as connection, connection.begin():
        await days(world, connection, 2)
        changed = {**world.runtime.context.settings.model_dump(), "exploration": {"share": 0.01}}
        world.runtime.context.settings = Settings.model_validate(changed)
        world.runtime.engine.rule = world.runtime.context.settings.rule()
        for number, rules in ((3, 2), (4, 1)):
            await days(world, connection, number)
            assert queries.verify(connection).differences == []
            assert len(find(connection, RuleRecord)) == rules
