"""Attributes are called one thing in the code and another one where they are stored, and each declaration is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from exacto_plugin.core.codec import UnknownFormatError, from_plain, to_plain
from exacto_plugin.core.model import DeploymentKey, Tier, Verdict
from exacto_plugin.core.routing.overrides import OverriddenVerdict
from exacto_plugin.core.tiers.replay import InputsError, decode, encode
from exacto_plugin.core.wire import from_wire, to_wire, wire, wire_names
from tests.core.tiers.test_replay import ADAPTIVE, fleet

if TYPE_CHECKING:
    from collections.abc import Callable


@wire("at", action="word", attempts="tries")
@dataclass(frozen=True)
class Renamed:
    """A record two of whose attributes are called otherwise where they are stored."""

    at: float
    action: Tier
    attempts: int = 1


@wire("samples", middles="medians")
class Columns(NamedTuple):
    """The same of a named tuple."""

    samples: int
    middles: int


class Bare:
    """A class of annotated attributes."""

    tier: int
    evidence_start: float


def test_the_stored_name_stays() -> None:
    """Out and in again, through whatever writes records; in the order of the attributes."""
    record = Renamed(1.5, Tier.DERANKED, 3)
    assert list(to_wire(record).items()) == [("at", 1.5), ("word", Tier.DERANKED), ("tries", 3)]
    assert to_plain(record) == {"at": 1.5, "word": "deranked", "tries": 3}
    assert from_plain(Renamed, to_plain(record)) == record
    assert from_wire(Renamed, to_wire(record)) == record
    assert to_wire(Columns(1, 2)) == {"samples": 1, "medians": 2}
    assert wire_names(wire("tier", evidence_start="epoch")(Bare)) == {"tier": "tier", "evidence_start": "epoch"}


def test_versions_may_differ() -> None:
    """What is not known is left out, what has a default may be missing, and an attribute's name is none on the wire."""
    given = {"at": 1.5, "word": "deranked", "from_later": 1}
    assert from_plain(Renamed, given) == Renamed(1.5, Tier.DERANKED)
    assert from_wire(Renamed, {**given, "word": Tier.DERANKED}) == Renamed(1.5, Tier.DERANKED)
    with pytest.raises(UnknownFormatError):
        from_plain(Renamed, {"at": 1.5, "action": "deranked"})


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        (wire("at action"), "attempts"),
        (wire("at action attempts colour"), "colour"),
        (wire("at word attempts"), "action, word"),
        (wire("at action", attempts="at"), "two attributes have one wire name"),
    ],
    ids=["missing", "unknown", "renamed without a word", "twice"],
)
def test_a_declaration_is_whole(declaration: Callable[[type[Any]], type[Any]], told: str) -> None:
    """A renamed, added or dropped attribute is noticed when the module loads, not when a record cannot be read."""
    with pytest.raises(TypeError, match=told):
        declaration(Renamed)


def test_a_subclass_declares_its_own() -> None:
    """Its further attributes would silently be left out otherwise."""
    verdict = OverriddenVerdict(DeploymentKey("a"), Tier.DERANKED)
    assert isinstance(verdict, Verdict)
    with pytest.raises(TypeError, match="OverriddenVerdict has no wire names"):
        to_plain(verdict)


def test_inputs_with_further_numbers_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of a later version may mean something else to its judge: that is told, and not guessed."""
    engine = fleet(ADAPTIVE, [4], 2)
    engine.recompute(1_800_000_000.0)
    assert engine.change_detector is not None
    inputs = engine.change_detector.changes[0].inputs()
    assert inputs.scores is not None
    data = encode(inputs)
    assert decode(data, ADAPTIVE).scores == inputs.scores
    further = {"from_later": 1.0}
    monkeypatch.setattr("exacto_plugin.core.tiers.replay.to_wire", lambda record: to_wire(record) | further)
    with pytest.raises(InputsError):
        decode(encode(inputs), ADAPTIVE)
