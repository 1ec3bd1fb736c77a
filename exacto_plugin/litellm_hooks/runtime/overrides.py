"""Runtime side of overrides: resolve names, publish, read and expire them.

The effect of an override on a tier is defined in :mod:`exacto_plugin.core.routing.overrides`. Is not on a request's
path.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exacto_plugin.core.routing.overrides import LONGEST_S, Override, OverrideAction
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.faults import fail_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Candidate, DeploymentKey
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers

logger = logging.getLogger("exacto_plugin")


class UnknownDeploymentError(ExactoError):
    """No such deployment is configured; the message lists the known names."""


class OverrideBackend(Protocol):
    """Storage of overrides that other workers and later processes read."""

    async def write(self, words: Sequence[Override]) -> None:
        """Store overrides.

        Raises:
            ExactoError: the storage is unavailable.
        """

    async def read(self) -> Sequence[Override]:
        """Return the newest override of each deployment, expired ones included.

        Very old ones may be missing.

        Raises:
            ExactoError: the storage is unavailable.
        """


class OverrideResult(NamedTuple):
    """The result of setting an override."""

    words: list[Override]
    """One for each model group that it applies to; none if there was nothing to reset."""
    kept: bool
    """True if it was stored for other workers and a restart.

    Otherwise it is in force in this process only, for now.
    """


class OverrideService:
    """The overrides of one process, and their exchange with other processes.

    Args:
        context: of this process.
        engine: its overrides are those in force.
        routers: have the deployments.
    """

    def __init__(self, context: Context, engine: Engine, routers: Routers) -> None:
        self._context = context
        self._engine = engine
        self._routers = routers
        self.faults = context.faults
        self._backends: list[OverrideBackend] = []

    def add_backend(self, backend: OverrideBackend) -> None:
        """Read and write overrides through a backend from the next ``poll`` on."""
        self._backends.append(backend)

    def author(self, identity: str) -> str:
        """Return the author's name in an override: a salted hash."""
        return hashlib.blake2b(identity.encode(), key=self._context.salt, digest_size=8).hexdigest()

    def known(self) -> dict[str, tuple[Candidate, ...]]:
        """Return the known deployments by model group.

        These are the configured ones, and those behind wildcards that had requests lately.
        """
        names = dict.fromkeys(name for router in self._routers.live for name in router_view(router).names)
        groups = dict.fromkeys([*names, *self._engine.groups()])
        found = {group: _candidates(self._routers.deployments_of(group), group) for group in groups if "*" not in group}
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
        """Set an override of a deployment.

        It is in force here at once, and in other processes as soon as they poll. A reset of what has no override is no
        override either, and is not put on record.

        Args:
            word: the action.
            deployment: its key, or LiteLLM's id of it.
            for_s: seconds for which it is in force, at most ``LONGEST_S``; a reset is remembered for that long.
            reason: in the operator's own words.
            author: as returned by ``author``.
            model_group: limits it to one model group; None: every group that the deployment serves.

        Raises:
            UnknownDeploymentError: there is no such deployment.
        """
        meant = self._resolve(deployment, model_group)
        if word is OverrideAction.RESET:
            await self.poll()  # another process may have set one since the last time
            held = {(one.model_group, one.deployment) for one in self._engine.overrides.in_force}
            meant = [one for one in meant if one in held]
            if not meant:
                return OverrideResult([], kept=True)
        now = self._context.clock()
        ends = now + (LONGEST_S if word is OverrideAction.RESET else min(for_s, LONGEST_S))
        words = [Override(group, key, word, reason, author, now, ends) for group, key in meant]
        self._take(words)
        shared = [await self._write_to(backend, words) for backend in tuple(self._backends)]
        return OverrideResult(words, bool(shared) and all(shared))

    def _resolve(self, deployment: str, model_group: str | None) -> list[tuple[str, DeploymentKey]]:
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
        """Read other processes' overrides, rewrite lost ones, and remove expired ones."""
        overrides = self._engine.overrides
        overrides.expire(self._context.clock())
        for backend in tuple(self._backends):
            try:
                words = await backend.read()
            except ExactoError:  # the backend reports its own failures
                continue
            self._take(words)
            there = {(word.model_group, word.deployment): word for word in words}
            lost = [word for word in overrides.known if there.get((word.model_group, word.deployment)) != word]
            if lost:
                await self._write_to(backend, lost)

    @staticmethod
    async def _write_to(backend: OverrideBackend, words: Sequence[Override]) -> bool:
        try:
            await backend.write(words)
        except ExactoError:
            return False
        return True

    def _take(self, words: Iterable[Override]) -> None:
        for word in self._engine.overrides.merge(words, self._context.clock()):
            until = datetime.fromtimestamp(word.expires, UTC).isoformat(sep=" ", timespec="seconds")
            held = "as measured again" if word.tier is None else f"{word.tier} until {until}"
            why = f": {word.reason!r}" if word.reason else ""
            logger.warning("%s: %s is %s by an override%s", word.model_group, word.deployment, held, why)


def _candidates(deployments: Iterable[Mapping[str, object]], group: str) -> tuple[Candidate, ...]:
    return tuple(candidate_of(deployment, group) for deployment in deployments)


_NAMED = 50
"""Most names in an error message."""


def _unknown_deployment(deployment: str, model_group: str | None, known: Mapping[str, Sequence[Candidate]]) -> str:
    if model_group is not None and known and model_group not in known:
        return f"there is no model group {model_group!r}; {_list_names(known)}"
    where = "" if model_group is None else f" of {model_group}"
    groups = [candidates for group, candidates in known.items() if model_group in (None, group)]
    names = {one.key for candidates in groups for one in candidates}
    return f"there is no deployment {deployment!r}{where}; {_list_names(names) if names else 'no model group has any'}"


def _list_names(names: Iterable[str]) -> str:
    told = sorted(names)
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"there are {', '.join(told[:_NAMED])}{more}"
