"""Joins the truth with the plugin's own records and prints what differs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.clients.truth import BAD, CLIENT_LEFT, UNRECORDED, SentAnswer, Truth, verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(slots=True)
class Matrix:
    """Truth against verdict, of one run.

    Args:
        counts: by group, deployment, surface, truth and verdict.
        delivered: bad answers that reached the client, and all of them, by kind.
        faults: answers with another verdict than they deserve.
    """

    counts: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    delivered: dict[Truth, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    faults: list[str] = field(default_factory=list)


def samples_in(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of the plugin's sample log."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if entry["type"] == "sample":
                yield entry


def compared(sent: Sequence[SentAnswer], samples: Iterable[Mapping[str, Any]], delivered: set[str]) -> Matrix:
    """Compare every answer with its sample, which has its number as tokens of the prompt.

    Args:
        sent: all answers.
        samples: of the plugin's log.
        delivered: markers of answers that the client is known to have got.
    """
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    strangers: list[Mapping[str, Any]] = []
    known = {(answer.deployment, answer.number) for answer in sent}
    for sample in samples:
        key = (sample["deployment"], sample.get("input_tokens", 0))
        (found[key] if key in known else strangers).append(sample)
    matrix = Matrix()
    for answer in sent:
        key = (answer.deployment, answer.number)
        verdicts = [verdict_of(sample) for sample in found.get(key, ())] or [UNRECORDED]
        group = answer.deployment.rpartition("-")[0]
        # An agent ends with its parent, and a client that is gone leaves no sample.
        gone = verdicts == [UNRECORDED] and answer.agent and answer.marker not in delivered
        verdict = CLIENT_LEFT if gone else verdicts[0]
        matrix.counts[group, answer.deployment, answer.surface, answer.truth, verdict] += 1
        if not gone and (len(verdicts) > 1 or not answer.deserves(verdicts[0])):
            where = f"{answer.deployment} ({answer.surface}) {answer.marker} {answer.detail}"
            matrix.faults.append(f"{where}: sent {answer.truth}, verdict {', '.join(verdicts)}")
        if answer.truth in BAD:
            matrix.delivered[answer.truth][0] += answer.marker in delivered
            matrix.delivered[answer.truth][1] += 1
    matrix.faults += [f"sample of no answer: {sample}" for sample in strangers]
    return matrix


def table(matrix: Matrix) -> Iterator[str]:
    """Yield the lines of the table: deployment and surface, truth, verdict, number."""
    yield f"{'deployment':24} {'surface':10} {'truth':16} {'verdict':16} {'answers':>7}"
    for (_, deployment, surface, truth, verdict), count in sorted(matrix.counts.items()):
        yield f"{deployment:24} {surface:10} {truth:16} {verdict:16} {count:>7}"


def by_truth(matrix: Matrix) -> Iterator[str]:
    """Yield the confusion matrix over all deployments."""
    sums: Counter[tuple[str, str]] = Counter()
    for (_, _, _, truth, verdict), count in matrix.counts.items():
        sums[truth, verdict] += count
    yield f"{'truth':16} verdicts"
    for truth in dict.fromkeys(truth for truth, _ in sorted(sums)):
        told = ", ".join(f"{verdict} {count}" for (one, verdict), count in sorted(sums.items()) if one == truth)
        yield f"{truth:16} {told}"
