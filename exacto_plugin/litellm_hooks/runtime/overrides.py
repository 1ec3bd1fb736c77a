"""Operators' words at run time: whom a name means, where words hang for all workers to read, and that they expire.

What a word does to a tier is :mod:`exacto_plugin.core.routing.overrides`' business. Must not be on a request's path.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exacto_plugin.core.routing.overrides import LONGEST_S, Override, OverrideAction
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.faults import fail_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exacto_plugin.core.model import Candidate
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

logger = logging.getLogger("exacto_plugin")


class UnknownDeploymentError(ExactoError):
    """Nobody configured a deployment of that name; the message names those that there are."""


class OverrideBackend(Protocol):
    """Where words hang, so that other workers read them and a restart finds them."""

    async def write(self, words: Sequence[Override]) -> None:
        """Hang up words.

        Raises:
            ExactoError: not now.
        """

    async def read(self) -> Sequence[Override]:
        """The newest word about each deployment, whether or not it still holds; very old ones may be missing.

        Raises:
            ExactoError: not now.
        """


class OverrideResult(NamedTuple):
    """What became of a word."""

    words: list[Override]
    """One for each model group that it is about."""
    kept: bool
    """Others hear of it and a restart finds it; otherwise it holds in this process only, for now."""


class OverrideService:
    """The words of one process, and its way to everybody else's."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.faults = runtime.faults
        self._backends: list[OverrideBackend] = []

    def add_backend(self, board: OverrideBackend) -> None:
        """Read and post words on a board from the next ``poll`` on."""
        self._backends.append(board)

    def author(self, identity: str) -> str:
        """How somebody is called in a word: a salted hash."""
        return hashlib.blake2b(identity.encode(), key=self._runtime.salt, digest_size=8).hexdigest()

    def known(self) -> dict[str, tuple[Candidate, ...]]:
        """The deployments that are configured, and those behind wildcards that were asked lately, by model group."""
        runtime = self._runtime
        names = dict.fromkeys(name for router in runtime.routers for name in _names(router))
        groups = dict.fromkeys([*names, *runtime.engine.groups()])
        found = {group: _candidates(runtime.deployments_of(group), group) for group in groups if "*" not in group}
        return {group: candidates for group, candidates in found.items() if candidates}

    async def apply_override(
        self,
        word: OverrideAction,
        deployment: str,
        for_s: float,
        reason: str,
        author: str,
        model_group: str | None = None,
    ) -> OverrideResult:
        """Say a word about a deployment; it holds here at once, elsewhere as soon as others look.

        Args:
            word: what is said.
            deployment: its name, or LiteLLM's id of it.
            for_s: seconds for which the word holds, at most ``LONGEST_S``; a reset is remembered for that long.
            reason: in the operator's own words.
            author: as ``author`` gives it.
            model_group: only there; None: wherever a deployment of this name serves.

        Raises:
            UnknownDeploymentError: there is no such deployment.
        """
        now = self._runtime.clock()
        ends = now + (LONGEST_S if word is OverrideAction.RESET else min(for_s, LONGEST_S))
        words = [
            Override(group, key, word, reason, author, now, ends)
            for group, key in self._resolve(deployment, model_group)
        ]
        self._take(words)
        shared = [await self._write_to(board, words) for board in tuple(self._backends)]
        return OverrideResult(words, bool(shared) and all(shared))

    def _resolve(self, deployment: str, model_group: str | None) -> list[tuple[str, str]]:
        known = self.known()
        meant = [
            (group, one.key)
            for group, candidates in known.items()
            for one in candidates
            if model_group in (None, group) and deployment in (one.key, one.id)
        ]
        if not meant:
            raise UnknownDeploymentError(_unknown_deployment(deployment, model_group, known))
        return list(dict.fromkeys(meant))

    @fail_open("overrides")
    async def poll(self) -> None:
        """Hear what others said, hang up again what a board lost, and forget what has expired."""
        overrides = self._runtime.engine.overrides
        overrides.expire(self._runtime.clock())
        for board in tuple(self._backends):
            try:
                words = await board.read()
            except ExactoError:  # whoever's board it is says what is wrong with it
                continue
            self._take(words)
            there = {(word.model_group, word.deployment): word for word in words}
            lost = [word for word in overrides.known if there.get((word.model_group, word.deployment)) != word]
            if lost:
                await self._write_to(board, lost)

    @staticmethod
    async def _write_to(board: OverrideBackend, words: Sequence[Override]) -> bool:
        try:
            await board.write(words)
        except ExactoError:
            return False
        return True

    def _take(self, words: Iterable[Override]) -> None:
        for word in self._runtime.engine.overrides.merge(words, self._runtime.clock()):
            until = datetime.fromtimestamp(word.expires, UTC).isoformat(sep=" ", timespec="seconds")
            held = "as measured again" if word.tier is None else f"{word.tier} until {until}"
            why = f": {word.reason!r}" if word.reason else ""
            logger.warning("%s: %s is %s, an operator says%s", word.model_group, word.deployment, held, why)


def _names(router: object) -> list[str]:
    teams = getattr(router, "team_public_model_names", None) or ()
    return [*getattr(router, "model_names", ()), *teams]


def _candidates(deployments: Iterable[Mapping[str, object]], group: str) -> tuple[Candidate, ...]:
    return tuple(candidate_of(deployment, group) for deployment in deployments)


_NAMED = 50
"""Names that an error tells at most."""


def _unknown_deployment(deployment: str, model_group: str | None, known: Mapping[str, Sequence[Candidate]]) -> str:
    if model_group is not None and known and model_group not in known:
        return f"there is no model group {model_group!r}; {_list_names(known)}"
    where = "" if model_group is None else f" of {model_group}"
    groups = [candidates for group, candidates in known.items() if model_group in (None, group)]
    names = {one.key for candidates in groups for one in candidates}
    return f"there is no deployment {deployment!r}{where}; {_list_names(names) if names else 'no model has any'}"


def _list_names(names: Iterable[str]) -> str:
    told = sorted(names)
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"there are {', '.join(told[:_NAMED])}{more}"
