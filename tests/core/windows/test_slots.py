"""Who is alive: slots, their leases and their re-use."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.slots import NO_SLOT, SlotAllocator


class Timer:
    """A clock that tests set."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sweep(slots: SlotAllocator) -> set[int]:
    """Take back and erase, as a recompute does."""
    erased = slots.expire()
    slots.release(erased)
    return set(erased)


def test_a_deployment_keeps_its_slot() -> None:
    """Two deployments have different slots, each the same for ever, and never the reserved one."""
    slots = SlotAllocator(100, 640.0, Timer())
    first, second = slots.acquire(("g", DeploymentKey("a"))), slots.acquire(("g", DeploymentKey("b")))
    assert len({first, second, NO_SLOT}) == 3
    assert slots.acquire(("g", DeploymentKey("a"))) == first
    assert list(slots) == [("g", "a"), ("g", "b")]


def test_what_is_not_touched_expires() -> None:
    """After the retention time a slot is taken back; one that was claimed meanwhile stays."""
    timer = Timer()
    slots = SlotAllocator(100, 640.0, timer)
    kept, gone = slots.acquire(("g", DeploymentKey("kept"))), slots.acquire(("g", DeploymentKey("gone")))
    timer.now += 400
    slots.acquire(("g", DeploymentKey("kept")))
    timer.now += 300
    assert sweep(slots) == {gone}
    assert list(slots) == [("g", "kept")]
    assert slots.acquire(("g", DeploymentKey("kept"))) == kept


def test_a_slot_is_given_out_again_only_after_it_was_erased() -> None:
    """Between sweep and erasure nobody gets the slot, afterwards the next deployment does."""
    timer = Timer()
    slots = SlotAllocator(100, 640.0, timer)
    gone = slots.acquire(("g", DeploymentKey("gone")))
    timer.now += 1000
    erased = slots.expire()
    assert erased == (gone,)
    assert slots.acquire(("g", DeploymentKey("b"))) != gone
    slots.release(erased)
    assert slots.acquire(("g", DeploymentKey("c"))) == gone
    assert slots.expire() == ()


def test_capacity_takes_from_who_was_touched_longest_ago() -> None:
    """A deployment beyond the capacity is taken in, at the cost of the least recently touched."""
    timer = Timer()
    slots = SlotAllocator(2, 640.0, timer)
    for name in ("a", "b"):
        timer.now += 1
        slots.acquire(("g", DeploymentKey(name)))
    timer.now += 20
    slots.acquire(("g", DeploymentKey("a")))
    before = slots.generation
    slots.acquire(("g", DeploymentKey("c")))
    assert set(slots) == {("g", "a"), ("g", "c")}
    assert slots.generation != before


def test_a_clock_that_goes_back_expires_nobody() -> None:
    """A lease that was touched in what is now the future is renewed, not lost."""
    timer = Timer(10_000.0)
    slots = SlotAllocator(100, 640.0, timer)
    slot = slots.acquire(("g", DeploymentKey("a")))
    timer.now = 1000.0
    assert slots.acquire(("g", DeploymentKey("a"))) == slot
    timer.now = 1600.0
    assert slots.acquire(("g", DeploymentKey("a"))) == slot
    assert sweep(slots) == set()


class Leases(RuleBasedStateMachine):
    """Any sequence of claims, sweeps and clock changes."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = Timer()
        self.slots = SlotAllocator(4, 640.0, self.timer)
        self.held: dict[tuple[str, str], int] = {}

    @rule(name=st.sampled_from("abcdefg"))
    def claim(self, name: str) -> None:
        """A claimed slot belongs to nobody else who is still known."""
        slot = self.slots.acquire(("g", DeploymentKey(name)))
        self.held[("g", name)] = slot
        assert slot != NO_SLOT
        assert ("g", name) in self.alive()
        assert list(self.alive().values()).count(slot) == 1

    def alive(self) -> dict[tuple[str, str], int]:
        """The slots of the deployments that are known."""
        return {key: self.held[key] for key in self.slots}

    @rule(seconds=st.sampled_from([1.0, 15.0, 300.0, 700.0, 1e6, -500.0]))
    def pass_time(self, seconds: float) -> None:
        """The clock goes on, jumps or goes back."""
        self.timer.now += seconds

    @rule()
    def sweep(self) -> None:
        """What is taken back belongs to nobody."""
        erased = sweep(self.slots)
        assert not erased & set(self.alive().values())

    @invariant()
    def no_more_than_the_capacity(self) -> None:
        """The number of deployments is bounded."""
        assert len(self.slots) <= 4


TestLeases = Leases.TestCase
