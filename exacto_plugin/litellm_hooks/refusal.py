"""Requests that the plugin refuses on purpose.

Causes are, for instance, an empty curated list or a malformed ``provider`` object. Inside LiteLLM a refusal is always a
``BadRequestError``: it is not retried, fallbacks are still tried, and, unlike a 404 or 429, it never puts the next
entry's deployment into cooldown. The ASGI middleware turns it into the status and body that the client gets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import litellm
import orjson

from exacto_plugin.config.messages import nearest, truncated
from exacto_plugin.core.routing.filters import providers_of, unpriced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Filter

NO_ENDPOINTS = "exacto_no_endpoints"

MARKER = "exacto refused"
"""Prefix of a refusal's message inside LiteLLM, by which the middleware finds it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The parts of the error that the client gets."""

    status: int
    type: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None

    @property
    def marked(self) -> str:
        """The message inside LiteLLM."""
        return f"{MARKER} ({self.type}): {self.message}"

    @property
    def filter_name(self) -> str | None:
        """The hard filter that left nothing; None for a malformed preference."""
        return self.param if self.type == NO_ENDPOINTS else None

    def body(self, *, anthropic: bool = False) -> bytes:
        """Return the JSON body, in OpenAI's error shape or in Anthropic's."""
        if anthropic:
            return orjson.dumps({"type": "error", "error": {"type": self.type, "message": self.message}})
        error = {"message": self.message, "type": self.type, "param": self.param, "code": str(self.status)}
        return orjson.dumps({"error": error})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return ``Retry-After`` when it is known."""
        if self.retry_after_s is None:
            return []
        return [(b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode())]


def match_refusal(body: bytes, refusals: Sequence[Refusal]) -> Refusal | None:
    """Return the refusal that LiteLLM's error body contains, or None.

    LiteLLM appends the results of fallbacks to a message and redacts internal data in it, such as addresses of
    providers. Therefore the prefix decides, and of several refusals the one with the longest common prefix is returned.
    """
    try:
        message = orjson.loads(body)["error"]["message"].removeprefix("litellm.BadRequestError: ")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None
    marked = [refusal for refusal in refusals if message.startswith(f"{MARKER} ({refusal.type}): ")]
    return max(marked, key=lambda refusal: _common_prefix(message, refusal.marked), default=None)


def _common_prefix(one: str, other: str) -> int:
    """Return the length of the longest common prefix of two texts."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


class ExactoRefusedError(litellm.BadRequestError):
    """Raised inside LiteLLM (and to SDK users) for a request refused on purpose."""

    _litellm_advisor_orchestration_failure = True
    """LiteLLM's mark of errors that are no evidence about the deployment.

    A deployment is not put into cooldown for such an error.
    """

    def __init__(self, refusal: Refusal, model: str) -> None:
        # Without a provider, since none was called: LiteLLM then logs one line, as for its own refusals.
        super().__init__(message=refusal.marked, model=model, llm_provider="")
        self.refusal = refusal


def no_endpoints(
    model_group: str, constraint: str, value: object, providers: Sequence[str], cooling_s: float | None = None
) -> Refusal:
    """Build the refusal for hard filters that leave no deployment.

    Args:
        model_group: the public model name.
        constraint: the filter's name, for instance ``curated``, maybe with its origin.
        value: the filter's value; None when clients may not see it.
        providers: the providers that exist, or an empty sequence when clients may not see them.
        cooling_s: seconds until the first match leaves its cooldown; None when nothing matches at all.
    """
    exist = f" Providers of this model: {', '.join(providers)}." if providers else ""
    asked = constraint if value is None else f"{constraint} = {value!r}"
    param = constraint.partition(" ")[0]
    if cooling_s is not None:
        message = f"Every deployment of {model_group} that {asked} allows is cooling down."
        return Refusal(429, NO_ENDPOINTS, message + exist, param, cooling_s)
    return Refusal(404, NO_ENDPOINTS, f"No deployment of {model_group} is left by {asked}." + exist, param)


def refused_by(
    filters: Sequence[Filter],
    model_group: str,
    candidates: Sequence[Candidate],
    cooling_s: float | None,
    *,
    expose: bool,
    picked: Candidate | None = None,
) -> ExactoRefusedError:
    """Build the refusal from the filters that together leave no deployment.

    Args:
        filters: those that together leave no deployment, at least one.
        model_group: the public model name.
        candidates: every configured deployment of it; empty where only the one that was ``picked`` is known.
        cooling_s: as for ``no_endpoints``.
        expose: whether clients may see providers, and so the values of the operator's own filters.
        picked: the deployment that is ruled out, when not all of them are.
    """
    exist = providers_of(candidates) if expose else []
    constraint = " together with ".join(_shown_filter(one, expose=expose) for one in filters)
    if cooling_s is None:
        constraint += _unpriced(filters, [picked] if picked else candidates, expose=expose)
    refusal = no_endpoints(model_group, constraint, None, exist, cooling_s)
    # The filter that removed the last deployments.
    return ExactoRefusedError(replace(refusal, param=filters[-1].name), model_group)


def _shown_filter(filter_: Filter, *, expose: bool) -> str:
    told = _shown_value(filter_)
    constraint = f"{filter_.name} ({filter_.source})" if filter_.source else filter_.name
    if filter_.expected:
        return f"{constraint}, which is malformed: expected {filter_.expected}"
    return f"{constraint} = {told}" if expose or not filter_.source else constraint


def _shown_value(filter_: Filter) -> str:
    if filter_.name == "zdr":
        return "true (of deployments that declare model_info.zdr: true)"
    if filter_.name == "data_collection":
        return f"{list(filter_.value)!r} (of deployments that declare model_info.data_collection: deny)"
    told: object = dict(filter_.value) if filter_.name == "max_price" else list(filter_.value)  # type: ignore[arg-type]
    return repr(told)


def _unpriced(filters: Sequence[Filter], candidates: Sequence[Candidate], *, expose: bool) -> str:
    """Return the text about unknown prices, where ``max_price`` rules them out."""
    unknown = unpriced(filters, candidates)
    if not unknown:
        return ""
    return f"; the price of {', '.join(providers_of(unknown))} is not known" if expose else "; not every price is known"


def pinned_unavailable(model_group: str, deployment: str, cooling_s: float) -> Refusal:
    """Build the refusal of a request with state that only one deployment can read.

    That deployment is cooling down.

    Args:
        model_group: the public model name.
        deployment: its id; empty when clients may not see it.
        cooling_s: seconds until it leaves its cooldown.
    """
    who = f"the deployment {deployment!r}" if deployment else "the deployment"
    message = f"This conversation of {model_group} carries state that only {who} can read, which is cooling down."
    return Refusal(429, NO_ENDPOINTS, message, "conversation", cooling_s)


def invalid_preference(field: str, value: object, expected: str) -> Refusal:
    """Build the refusal for a malformed field of the ``provider`` object."""
    message = f"Invalid value for {field}: got {truncated(value)}, expected {expected}."
    return Refusal(400, "invalid_request_error", message, field)


def unknown_field(path: str, field: object, known: Sequence[str]) -> Refusal:
    """Build the refusal for a field that the ``provider`` object does not have."""
    message = f"Unknown field {path}, expected one of {', '.join(known)}{nearest(field, known)}."
    return Refusal(400, "invalid_request_error", message, path)
