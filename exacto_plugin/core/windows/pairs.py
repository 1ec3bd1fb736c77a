"""Answers of two deployments to one request, compared.

A rescue, a retry or a failover sends one request to several deployments of a model. A prompt that one of them counts
with the same number of tokens more than the other, request by request, means another chat template, or tools that did
not reach the model. Observed only, by one process, in memory. Holds numbers only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median_low
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.core.model import DeploymentKey

LEAST_PAIRS = 20
"""Requests that two deployments must share before anything is told of them."""
NEWEST = 200
"""Requests of two deployments that are kept."""
MOST = 2_000
"""Pairs of deployments that are kept."""
CONSTANT_SHARE = 0.8
"""Share of the requests with the median difference from which it is called constant.
Another tokenizer counts a share of each prompt more, so its differences are as various as the prompts (reasoned)."""


class PairedAnswer(NamedTuple):
    """One deployment's answer to a request that another one was sent too."""

    deployment: DeploymentKey
    prompt_tokens: int | None
    """None where the provider reported none."""
    valid: bool
    """False for a bad or broken answer, and for a failure."""


class PairView(NamedTuple):
    """One deployment compared with another one."""

    other: DeploymentKey
    pairs: int
    """Requests that both were sent."""
    counted: int
    """Those of them with the prompt's tokens of both."""
    offset: int | None
    """Median of the tokens that it counts more; None with fewer than ``LEAST_PAIRS`` of ``counted``."""
    share: float | None
    """Share of ``counted`` with exactly this difference."""
    valid: float
    """Share of the requests that it answered validly."""
    other_valid: float

    @property
    def is_constant(self) -> bool:
        """True if the prompt has a constant number of tokens more or fewer."""
        return bool(self.offset) and (self.share or 0.0) >= CONSTANT_SHARE


@dataclass(slots=True)
class _Pair:
    valid: deque[tuple[bool, bool]] = field(default_factory=lambda: deque(maxlen=NEWEST))
    differences: deque[int] = field(default_factory=lambda: deque(maxlen=NEWEST))
    """Tokens of the second minus those of the first, by name."""


class PairedAnswers:
    """The pairs of all deployments of one process.

    Pairs may be added in one thread while another one reads, from copies: a copy is made in one step, while a tuple is
    not, because the garbage collector may run between its items, and other threads with it.

    >>> from exacto_plugin.core.model import DeploymentKey
    >>> pairs = PairedAnswers()
    >>> a, b = (PairedAnswer(DeploymentKey(name), tokens, True) for name, tokens in (("a", 118), ("b", 100)))
    >>> for _ in range(20):
    ...     pairs.add("kimi", a, b)
    >>> (one,) = pairs.of("kimi", b.deployment)
    >>> one.other, one.pairs, one.offset, one.share, one.is_constant
    ('a', 20, -18, 1.0, True)
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pairs: dict[tuple[str, DeploymentKey, DeploymentKey], _Pair] = {}

    def add(self, model_group: str, one: PairedAnswer, other: PairedAnswer) -> None:
        """Count one request that two deployments were sent; one with itself is no pair."""
        if one.deployment == other.deployment:
            return
        first, second = sorted((one, other))
        key = (model_group, first.deployment, second.deployment)
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= self._most:
                return
            pair = self._pairs[key] = _Pair()
        pair.valid.append((first.valid, second.valid))
        if first.prompt_tokens is not None and second.prompt_tokens is not None:
            pair.differences.append(second.prompt_tokens - first.prompt_tokens)

    def of(self, model_group: str, deployment: DeploymentKey) -> list[PairView]:
        """Return a deployment compared with others, of ``LEAST_PAIRS`` requests and more."""
        found = []
        for (group, first, second), pair in self._pairs.copy().items():
            if group == model_group and deployment in (first, second) and len(pair.valid) >= LEAST_PAIRS:
                is_first = deployment == first
                found.append(_view(pair, second if is_first else first, is_first=is_first))
        return sorted(found)

    def retain(self, served: Iterable[tuple[str, DeploymentKey]]) -> None:
        """Forget pairs of deployments that are not served."""
        kept = set(served)
        self._pairs = {key: pair for key, pair in self._pairs.items() if {(key[0], key[1]), (key[0], key[2])} <= kept}


def _view(pair: _Pair, other: DeploymentKey, *, is_first: bool) -> PairView:
    more = [-one if is_first else one for one in pair.differences.copy()]
    offset = median_low(more) if len(more) >= LEAST_PAIRS else None
    share = None if offset is None else more.count(offset) / len(more)
    valid = pair.valid.copy()
    shares = [sum(one[place] for one in valid) / len(valid) for place in (0, 1)]
    own, others = shares if is_first else reversed(shares)
    return PairView(other, len(valid), len(more), offset, share, own, others)
