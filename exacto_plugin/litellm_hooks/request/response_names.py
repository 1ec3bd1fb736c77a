"""Model name in an answer: the client's own, also where LiteLLM differs.

LiteLLM puts the requested name into answers, but not inside the events of a Responses stream, and not in the answer of
a fallback: these carry the provider's own name or the model group. A move within one model group (``order`` levels,
weighted failover) keeps the requested name, and the answer of an entry of the client's own list carries that entry as
the client wrote it. LiteLLM's name is kept for an operator's fallback and for a request without the plugin's suffixes.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import split_slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import fallback_entries, fallback_targets
from exacto_plugin.litellm_hooks.request.body import MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.deployments.fallbacks import Resolve
    from exacto_plugin.litellm_hooks.request.slugs import Listed
    from exacto_plugin.litellm_hooks.request.state import RequestState


def listed_names(body: Mapping[str, Any], resolve: Resolve, group_of: Callable[[str], str]) -> Listed:
    """Return the entries of the client's own lists.

    Args:
        body: the request as the client sent it.
        resolve: resolves a name against the router.
        group_of: the model group behind a name, which may be an alias.
    """
    models, fallbacks = body.get("models"), body.get("fallbacks")
    entries = [one for one in models[:MOST_NAMES] if isinstance(one, str)] if isinstance(models, list) else []
    if isinstance(fallbacks, list):
        entries += sorted(fallback_targets(islice(fallback_entries(fallbacks), MOST_NAMES)))
    names: dict[tuple[str, str | None], str] = {}
    for entry in entries:
        slug = split_slug(entry, resolve)
        for name in (slug.base, group_of(slug.base)):
            names.setdefault((name, ":".join(slug.suffixes)), entry)
            if not slug.suffixes and entry != body.get("model"):
                names.setdefault((name, None), entry)
    return names


def fallback_name(state: RequestState, model: str, suffixes: object, *, same_group: bool) -> str:
    """Return the model name in the answer of a fallback hop.

    Empty where LiteLLM's name is kept.

    Args:
        state: the request's state.
        model: the model of the hop.
        suffixes: those of the hop's entry; None when it has none of the plugin's.
        same_group: whether the hop is for the model group that the client requested.
    """
    listed = state.slugs.listed.get((model, suffixes if isinstance(suffixes, str) else None))
    return listed or (state.slugs.requested if same_group else "")


def rename(answer: dict[str, Any], name: str) -> bool:
    """Replace the model name of an answer or event in place.

    Args:
        answer: of any surface: a Responses event carries the name in its response, a Messages event in its message.
        name: the model name.

    Returns:
        True when the name changed.
    """
    changed = False
    for holder in (answer, answer.get("response"), answer.get("message")):
        if isinstance(holder, dict) and isinstance(holder.get("model"), str) and holder["model"] != name:
            holder["model"] = name
            changed = True
    return changed
