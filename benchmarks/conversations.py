"""The workload of the affinity benchmark: conversations of several turns, and who breaks how many of their calls."""

from __future__ import annotations

import random
from dataclasses import dataclass

ERRORS = {"a": 0.002, "b": 0.005, "c": 0.01, "d": 0.0, "e": 0.1, "f": 0.25}
BREAKS, BREAKS_TO = "a", 0.25
TURNS = 8
"""Turns of a conversation on average; at least one."""
BETWEEN_S = 20.0
INTERVAL_S = 300.0
PER_MINUTE = 60.0


@dataclass(slots=True)
class Turn:
    """One request of a conversation."""

    at: float
    conversation: int
    number: int


def turns(requests: int, per_minute: float, seed: int) -> list[Turn]:
    """A workload, in the order of time; conversations begin all the time and go on at their own pace."""
    draw = random.Random(seed)
    found: list[Turn] = []
    hours_s = requests / per_minute * 60
    conversation = 0
    while len(found) < requests:
        begun = draw.uniform(0, hours_s)
        at, number = begun, 0
        while number == 0 or draw.random() > 1 / TURNS:
            found.append(Turn(at, conversation, number))
            at += draw.expovariate(1 / BETWEEN_S)
            number += 1
        conversation += 1
    return sorted(found, key=lambda turn: turn.at)


def error_rate(deployment: str, *, broken: bool) -> float:
    """The share of calls that a deployment breaks, before or after one of them broke."""
    return BREAKS_TO if broken and deployment == BREAKS else ERRORS[deployment]
