"""What others name is pruned after them, in every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.records import InputsRecord, RuleRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.pruning import ROWS, Pruning
from exacto_plugin.store.rows import find, insert_all

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from exacto_plugin.store.location import StoreLocation

START = 1_800_000_000.0
DAY_S = 86_400.0


def pruned(connection: Connection, pruning: Pruning) -> None:
    """Delete all that is due; inputs never stay without their rule."""
    while pruning.step(connection) < 1.0:
        assert find(connection, RuleRecord) or not find(connection, InputsRecord)


def test_a_rule_goes_after_what_names_it(place: StoreLocation) -> None:
    """Also where there is so much to delete that it takes many turns; a rule written again is as young as that."""
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, [RuleRecord("r", START, {}, "1")])
        named = [InputsRecord(f"s{number}", START, "g", "change", "r", "1", b"") for number in range(2 * ROWS + 1)]
        insert_all(connection, named)
        pruned(connection, Pruning(lambda _: 1.0, lambda: START + 60 * DAY_S))
        assert find(connection, RuleRecord) == []
        assert find(connection, InputsRecord) == []
        insert_all(connection, [RuleRecord("r", START, {}, "1")])
        insert_all(connection, [RuleRecord("r", START + 60 * DAY_S, {}, "1")])
        pruned(connection, Pruning(lambda _: 1.0, lambda: START + 60 * DAY_S))
        assert [one.at for one in find(connection, RuleRecord)] == [START + 60 * DAY_S]
