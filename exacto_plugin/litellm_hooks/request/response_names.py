"""Which model name an answer carries: what the client wrote, also where LiteLLM writes another one.

LiteLLM puts the requested name into answers, but not inside the events of a Responses stream, and not where a hop
answered: there it shows the provider's own name, or the model group. A hop within the same model group (``order``
levels, weighted failover) is none for the client, and a hop to an entry of its own list is told as the client wrote
it. Where an operator's fallback answered, and where nothing of ours is in the request, LiteLLM's name stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import split_slug
from exacto_plugin.litellm_hooks.request.body import MOST_NAMES, fallback_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.request.body import Resolve
    from exacto_plugin.litellm_hooks.request.state import RequestState

Listed = Mapping[tuple[str, str | None], str]
"""Model and suffixes of an entry, to the entry as the client wrote it; suffixes are None where LiteLLM has the entry as
it was written."""


def listed_names(body: Mapping[str, Any], resolve: Resolve, group_of: Callable[[str], str]) -> Listed:
    """The entries of the client's own lists.

    Args:
        body: the request as the client sent it.
        resolve: how a name is known to the router.
        group_of: the model group behind a name, which may be an alias.
    """
    models, fallbacks = body.get("models"), body.get("fallbacks")
    entries = [one for one in models if isinstance(one, str)] if isinstance(models, list) else []
    if isinstance(fallbacks, list):
        entries += sorted(fallback_targets(fallbacks))
    names: dict[tuple[str, str | None], str] = {}
    for entry in entries[: 2 * MOST_NAMES]:
        slug = split_slug(entry, resolve)
        for name in (slug.base, group_of(slug.base)):
            names.setdefault((name, ":".join(slug.suffixes)), entry)
            if not slug.suffixes and entry != body.get("model"):
                names.setdefault((name, None), entry)
    return names


def fallback_name(state: RequestState, model: str, suffixes: object, *, same_group: bool) -> str:
    """The name that the answer of a fallback hop carries; empty where LiteLLM's name stands.

    Args:
        state: the request's state.
        model: what the hop asks.
        suffixes: those of the hop's entry; None when it has none of ours.
        same_group: whether the hop asks the model group that the client asked for.
    """
    listed = state.listed.get((model, suffixes if isinstance(suffixes, str) else None))
    return listed or (state.requested if same_group else "")


def rename(answer: dict[str, Any], name: str) -> bool:
    """Give an answer, or an event of a stream, another model name, in place; tells whether that changed anything.

    Args:
        answer: of any surface: a Responses event carries the name in its response, a Messages event in its message.
        name: the model name.
    """
    changed = False
    for holder in (answer, answer.get("response"), answer.get("message")):
        if isinstance(holder, dict) and isinstance(holder.get("model"), str) and holder["model"] != name:
            holder["model"] = name
            changed = True
    return changed
