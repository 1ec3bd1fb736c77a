"""The parcel service as a task of Inspect.

inspect eval exacto_plugin/bench/parcels/task.py@parcels --model ... --epochs 4
"""

from __future__ import annotations

import json
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate, system_message, use_tools
from inspect_ai.tool import Tool, tool
from inspect_ai.util import store
from parcel_world import ACTIONS, REQUESTS, RULES, end_of, start

VERSION = 1
"""Rises with every change of records, requests, rules or scorer: scores of two versions are never compared."""

MOST_MESSAGES = 30
"""Messages of a conversation; the longest right one has ten."""


def _done(name: str, **arguments: Any) -> str:
    """Do an action with the records of the present sample."""
    world = store().get("world") or start()
    told = ACTIONS[name](world, **arguments)
    store().set("world", world)
    return told if isinstance(told, str) else json.dumps(told)


@tool
def find_parcels() -> Tool:
    async def execute(recipient: str) -> str:
        """Find the parcels of a recipient.

        Args:
            recipient: first and last name.
        """
        return _done("find_parcels", recipient=recipient)

    return execute


@tool
def get_parcel() -> Tool:
    async def execute(parcel: str) -> str:
        """Get one parcel.

        Args:
            parcel: its number, such as P100.
        """
        return _done("get_parcel", parcel=parcel)

    return execute


@tool
def list_lockers() -> Tool:
    async def execute(city: str) -> str:
        """List the lockers of a city with free boxes and the weight that each carries.

        Args:
            city: name of the city.
        """
        return _done("list_lockers", city=city)

    return execute


@tool
def change_address() -> Tool:
    async def execute(parcel: str, street: str, city: str) -> str:
        """Send a parcel to another address.

        Args:
            parcel: its number.
            street: street and house number.
            city: name of the city.
        """
        return _done("change_address", parcel=parcel, street=street, city=city)

    return execute


@tool
def hold() -> Tool:
    async def execute(parcel: str, until: str) -> str:
        """Keep a parcel until a day.

        Args:
            parcel: its number.
            until: the day, as YYYY-MM-DD.
        """
        return _done("hold", parcel=parcel, until=until)

    return execute


@tool
def use_locker() -> Tool:
    async def execute(parcel: str, locker: str) -> str:
        """Deliver a parcel to a locker.

        Args:
            parcel: its number.
            locker: number of the locker, such as L9.
        """
        return _done("use_locker", parcel=parcel, locker=locker)

    return execute


@tool
def add_note() -> Tool:
    async def execute(parcel: str, note: str) -> str:
        """Add a note for the driver.

        Args:
            parcel: its number.
            note: the words of the customer.
        """
        return _done("add_note", parcel=parcel, note=note)

    return execute


@tool
def file_claim() -> Tool:
    async def execute(parcel: str, amount: int) -> str:
        """File a claim for a lost or damaged parcel.

        Args:
            parcel: its number.
            amount: whole euros.
        """
        return _done("file_claim", parcel=parcel, amount=amount)

    return execute


@scorer(metrics=[accuracy(), stderr()])
def right_end() -> Any:
    """Score 1 where the records are as they should be at the end, else 0."""

    async def score(state: TaskState, target: Target) -> Score:
        found = state.store.get("world") or start()
        right = found == json.loads(target.text)
        return Score(value=1.0 if right else 0.0)

    return score


@task
def parcels() -> Task:
    """The dozen requests, from records that are fresh for each."""
    samples = [Sample(id=one.name, input=one.text, target=json.dumps(end_of(one))) for one in REQUESTS]
    reading = [find_parcels(), get_parcel(), list_lockers()]
    changing = [change_address(), hold(), use_locker(), add_note(), file_claim()]
    return Task(
        dataset=MemoryDataset(samples, name="parcels"),
        solver=[system_message(RULES), use_tools(reading + changing), generate(tool_calls="loop")],
        scorer=right_end(),
        message_limit=MOST_MESSAGES,
        version=VERSION,
    )
