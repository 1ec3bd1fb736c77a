"""Names of model groups and deployments: short to read, forgiving to type."""

from __future__ import annotations

import re
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.routing.filters import same_provider
from exacto_plugin.errors import ExactoError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_GENERATED = re.compile(r"(?P<provider>.+)-[0-9a-f]{10}(?P<model>:.*)?")
"""Form of the key that the plugin makes of provider, model and host."""

_LISTED = 12
"""Most names in a message."""


class KnownDeployment(NamedTuple):
    """One deployment of a model group, as a proxy or a store knows it."""

    model_group: str
    deployment: str
    provider: str


def display_names(deployments: Iterable[str]) -> dict[str, str]:
    """Return the names to show of a model group's deployments.

    A generated key is shown without its hash, unless two would then be alike.

    >>> display_names(["deepinfra-69ddc083d1", "own"])
    {'deepinfra-69ddc083d1': 'deepinfra', 'own': 'own'}
    """
    short = {key: _without_hash(key) for key in deployments}
    uses = Counter(short.values())
    return {key: name if uses[name] == 1 else key for key, name in short.items()}


def _without_hash(key: str) -> str:
    found = _GENERATED.fullmatch(key)
    return f"{found['provider']}{found['model'] or ''}" if found else key


def resolve_deployments(name: str, known: Sequence[KnownDeployment], model_group: str | None = None) -> list[str]:
    """Return the keys of the deployments that a name means.

    The key itself counts first, then the name without its hash, then the provider.

    Raises:
        UnknownNameError: there is no such model group or deployment; the message suggests one.
    """
    if not known:
        raise UnknownNameError(f"nothing is known of {name!r} yet{_FIRST}")
    resolve_group(model_group, known)
    within = [one for one in known if model_group in (None, one.model_group)]
    meanings = (
        [one.deployment for one in within if one.deployment == name],
        [one.deployment for one in within if _without_hash(one.deployment) == name],
        [one.deployment for one in within if one.provider and same_provider(name, one.provider)],
    )
    found = next((keys for keys in meanings if keys), None)
    if found is None:
        where = "" if model_group is None else f" in {model_group}"
        providers = {one.provider for one in within if one.provider}
        suggestion = _suggestion(name, list(dict.fromkeys(_shown(within).values())), providers)
        raise UnknownNameError(f"there is no deployment {name!r}{where}{suggestion}")
    return list(dict.fromkeys(found))


def resolve_deployment(name: str, known: Sequence[KnownDeployment], model_group: str | None = None) -> str:
    """Return the key of the one deployment that a name means.

    Raises:
        UnknownNameError: as ``resolve_deployments``.
        ExactoError: it means several; the message lists them.
    """
    keys = resolve_deployments(name, known, model_group)
    if len(keys) > 1:
        raise ExactoError(f"{name!r} means {', '.join(keys)}; name one of them")
    return keys[0]


def resolve_group(model_group: str | None, known: Iterable[KnownDeployment]) -> None:
    """Check that a model group exists; None is any.

    Raises:
        UnknownNameError: it does not; the message suggests one.
    """
    names = sorted({one.model_group for one in known})
    if model_group is not None and not names:
        raise UnknownNameError(f"nothing is known of {model_group!r} yet{_FIRST}")
    if model_group is not None and model_group not in names:
        raise UnknownNameError(f"there is no model group {model_group!r}{_suggestion(model_group, names)}")


_FIRST = ": no deployment has a verdict; `exacto doctor` tells when the first ones are due"


def _shown(known: Sequence[KnownDeployment]) -> Mapping[str, str]:
    return display_names(dict.fromkeys(one.deployment for one in known))


def _suggestion(name: str, known: Sequence[str], others: Collection[str] = ()) -> str:
    """Return a similar name as a question, also of ``others``; else the names."""
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    close = get_close_matches(name.lower()[:60], [*known, *others], n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else f"; there are {', '.join(sorted(known)[:_LISTED])}{more}"
