"""One request of a row, what came of it, and how it is judged. No I/O.

A simulated provider writes its own name into everything valid that it says, and remembers what it was asked; so both
sides of a request are known without a word of the plugin's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_ENDPOINTS: Final = "exacto_no_endpoints"
"""``type`` of the error when a hard filter leaves nobody, as docs/reference/headers-and-errors.md promises."""
RIGHT: Final = "right"
"""Part of a deployment's name: it is the one that the row's feature leads to."""
WRONG: Final = "wrong"
"""Part of a deployment's name: LiteLLM's own choice is mostly this one."""

_OURS: Final = ("provider", "models", "fallbacks", "route", "exacto_suffixes")
"""Fields of a body that no provider may get."""
_SORTS: Final = ("price", "throughput", "latency")
"""Values of ``x-exacto-policy`` that name a full order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got."""

    status: int = 0
    """Of HTTP; 0 where there is none, as for an error inside a stream."""
    said: str = ""
    """Text, or the arguments of the tool call."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """``x-exacto-*``; none in a program."""
    error: str = ""
    """``type`` of the error, or the name of the exception."""
    param: str = ""
    """The field that the error names."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request: what came of it, and who was asked for it.

    Args:
        answer: what the client got.
        parts: deployment id to its part of the row, for all deployments of the row.
        asked: the parts that were asked, sorted, each as often as it was asked.
        sent: the bodies that they got.
    """

    answer: Answer
    parts: Mapping[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    sent: tuple[Mapping[str, Any], ...] = ()

    @property
    def answered_by(self) -> str:
        """The part whose valid answer the client got; empty without one."""
        said = self.answer.said
        try:
            call = json.loads(said)
        except ValueError:
            call = None
        fits = isinstance(call, dict) and call.keys() == {"city", "days"}
        return self.parts.get(str(call["city"]) if fits else said, "") if self.answer.status == 200 else ""

    @property
    def source(self) -> str:
        """As ``answered_by``; of a bad answer too where only one part can have given it."""
        return self.answered_by or (self.asked[0] if len(set(self.asked)) == 1 else "")

    @property
    def clean(self) -> bool:
        """Whether nothing that is meant for the plugin reached a provider."""
        return not any(":" in str(body.get("model")) or body.keys() & set(_OURS) for body in self.sent)

    def untrue(self) -> list[str]:
        """The headers of an answer that say what did not happen; a header that is not there says nothing."""
        told, source = self.answer.headers, self.source
        if self.answer.status != 200 or not source:
            return []
        named = {name: part for name, part in self.parts.items() if part == source}
        found = []
        if told.get("x-exacto-deployment", next(iter(named))) not in named:
            found.append("x-exacto-deployment")
        if told.get("x-exacto-provider", provider_of(next(iter(named)))) not in map(provider_of, named):
            found.append("x-exacto-provider")
        rescued = told.get("x-exacto-rescued")
        if rescued is not None and (self.parts.get(rescued) == source or self.parts.get(rescued) not in self.asked):
            found.append("x-exacto-rescued")
        if told.get("x-exacto-policy") in _SORTS and source != RIGHT:
            found.append("x-exacto-policy")
        return found

    def __str__(self) -> str:
        """In a few words, for the table."""
        if self.answer.status != 200:
            return f"{self.answer.status} {self.answer.error}".strip()
        said = f"valid answer of {self.answered_by}" if self.answered_by else "bad call"
        asked = f", asked {'+'.join(self.asked) or 'nobody'}"
        return f"{said}{asked}{'' if self.clean else ', our fields sent on'}"


if TYPE_CHECKING:
    Judge = Callable[[Case], bool]


def provider_of(deployment: str) -> str:
    """What a deployment declares as its provider."""
    return f"{deployment}-inc"


def answered(case: Case) -> bool:
    """One that is right was asked, nobody else, and the client has its valid answer."""
    return case.answered_by.startswith(RIGHT) and case.asked == (case.answered_by,)


def answered_anyhow(case: Case) -> bool:
    """Somebody was asked, nobody else, and the client has the valid answer."""
    return case.asked == (case.answered_by,)


def walked(case: Case) -> bool:
    """The wrong one was asked first, then one that is right, and the client has the valid answer of that."""
    return case.answered_by.startswith(RIGHT) and case.asked == tuple(sorted((WRONG, case.answered_by)))


def left_alone(case: Case) -> bool:
    """The right one was asked, nobody else, and the client has its answer, bad as it is."""
    return case.answer.status == 200 and not case.answered_by and case.asked == (RIGHT,)


def refused(case: Case) -> bool:
    """A hard filter left nobody: 404 of ours, and nobody was asked."""
    return (case.answer.status, case.answer.error, case.asked) == (404, NO_ENDPOINTS, ())


def malformed(case: Case) -> bool:
    """400 that names a field of ``provider``, and nobody was asked."""
    return case.answer.status == 400 and case.answer.param.startswith("provider") and not case.asked


def named(case: Case) -> bool:
    """The headers of a valid answer name the policy, the deployment and the provider; whether truly is judged apart."""
    told = case.answer.headers
    there = "x-exacto-deployment" in told and "x-exacto-provider" in told and told.get("x-exacto-policy") == "auto"
    return answered_anyhow(case) and there
