"""Counts the distinct API keys that ignore, pin or pass over each provider.

A request with tools that ignores a provider, or pins others, is evidence about it that no measurement gives; it is
one of OpenRouter's three inputs for curated lists. Keys are salted hashes, and each count stores only the 256
smallest hash values (k minimum values): exact up to 256 keys, 6 % standard error beyond, at most 3 kB. Counts are
kept in two generations, so that old preferences expire. Reads no clock (time is an argument) and stores no key.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

GENERATION_S = 14 * 86_400.0
"""Age at which a generation is closed, in seconds (14 days).
Counts cover at most two generations."""

_KEPT = 256
_LARGEST = 2**64


class KMinValues:
    """An estimate of the number of distinct keys, from the smallest of their hashes."""

    __slots__ = ("_smallest",)

    def __init__(self) -> None:
        self._smallest: list[int] = []

    def add(self, key: int) -> None:
        """Add a key.

        Args:
            key: its hash, uniform in [0, 2**64).
        """
        smallest = self._smallest
        if len(smallest) == _KEPT and key >= smallest[-1]:
            return
        at = bisect_left(smallest, key)
        if at == len(smallest) or smallest[at] != key:
            smallest.insert(at, key)
            del smallest[_KEPT:]

    def union(self, other: KMinValues) -> KMinValues:
        """Return the estimate for the union of both sets of keys."""
        both = KMinValues()
        both._smallest = sorted({*self._smallest, *other._smallest})[:_KEPT]
        return both

    @property
    def count(self) -> int:
        """The number of different keys; exact up to 256."""
        smallest = self._smallest
        if len(smallest) < _KEPT:
            return len(smallest)
        return round((_KEPT - 1) * _LARGEST / max(1, smallest[-1]))


class PreferenceCounts(NamedTuple):
    """The numbers of distinct keys with a preference about one provider."""

    ignored_by: int
    """Keys that list the provider in ``ignore``."""
    pinned_by: int
    """Keys that list the provider in ``only`` or ``order``."""
    passed_over_by: int
    """Keys that pin other providers only."""


class _Generation:
    __slots__ = ("began_at", "by_provider", "callers")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.callers: dict[str, KMinValues] = {}
        self.by_provider: dict[tuple[str, str], tuple[KMinValues, KMinValues, KMinValues]] = {}


class CallerPreferences:
    """Preferences of callers with tools, by model group and provider.

    The size is bounded if only configured model groups and existing providers are passed in; the caller of this class
    must ensure that.
    """

    def __init__(self) -> None:
        self._now = _Generation(float("-inf"))
        self._before = _Generation(float("-inf"))

    def record_call(self, model_group: str, key: int, at: float) -> None:
        """Record a request with tools from one key.

        Args:
            model_group: the public model name.
            key: the key's hash, uniform in [0, 2**64).
            at: UTC seconds.
        """
        if at - self._now.began_at > GENERATION_S:
            self._before, self._now = self._now, _Generation(at)
        self._now.callers.setdefault(model_group, KMinValues()).add(key)

    def record_preference(
        self,
        model_group: str,
        key: int,
        *,
        ignored: Iterable[str] = (),
        pinned: Iterable[str] = (),
        passed_over: Iterable[str] = (),
    ) -> None:
        """Record that request's preferences about existing providers."""
        for place, providers in enumerate((ignored, pinned, passed_over)):
            for provider in providers:
                counts = self._now.by_provider.get((model_group, provider))
                if counts is None:
                    counts = (KMinValues(), KMinValues(), KMinValues())
                    self._now.by_provider[model_group, provider] = counts
                counts[place].add(key)

    def callers(self, model_group: str) -> int:
        """Return the number of keys that sent the model group requests with tools."""
        nobody = KMinValues()
        before = self._before.callers.get(model_group, nobody)
        return self._now.callers.get(model_group, nobody).union(before).count

    def of(self, model_group: str, provider: str) -> PreferenceCounts:
        """Return the preference counts of a provider."""
        nobody = (KMinValues(),) * 3
        pairs = zip(
            self._now.by_provider.get((model_group, provider), nobody),
            self._before.by_provider.get((model_group, provider), nobody),
            strict=True,
        )
        return PreferenceCounts(*(now.union(before).count for now, before in pairs))
