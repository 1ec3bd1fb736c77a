"""A tool call of an answer and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exacto_plugin.core.scoring.flaws import BLAME, flaw_of

if TYPE_CHECKING:
    from exacto_plugin.core.model import Blame, Flaw, Outcome


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of an answer."""

    name: str
    arguments: object
    """JSON text, or an object on surfaces that parse it; None counts as empty text."""
    id: str = field(default="", compare=False)
    """As the client got it; empty without one."""
    custom: bool = field(default=False, compare=False)
    """True for a call in the form of OpenAI's custom tools, whose argument is free text."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The verdict on one tool call. Holds neither arguments nor the tool's name."""

    outcome: Outcome
    reason: str = ""
    """A machine-readable code; empty if none applies.
    Valid: ``no_schema``, ``not_compilable``, ``schema_limit`` (the schema was not applied). Unscored: ``too_large``,
    ``depth``, ``number_range``, ``evaluations``, ``patterns``, ``steps`` (too costly), ``open_tool_set`` (the request
    does not list all tools), ``unsatisfiable`` (nothing satisfies the schema), ``engine_error``. Any:
    ``empty_arguments``."""
    schema_path: str = ""
    """The place of a mismatch, as ``/passengers/*/dob#format``; set only on request.
    Keys that the schema does not declare are ``*``."""

    @property
    def flaw(self) -> Flaw | None:
        """The flaw of the call; None if it has none or was not scored."""
        return flaw_of(self.outcome, self.reason)

    @property
    def blame(self) -> Blame | None:
        """The party to blame as far as the call alone shows.

        The attribution of the whole answer may differ (``attribution.attribute``).
        """
        flaw = self.flaw
        return None if flaw is None else BLAME[flaw]
