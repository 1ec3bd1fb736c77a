"""Schema and validation of the request body's ``provider`` object.

Parses and refuses; :mod:`exacto_plugin.litellm_hooks.request.policy` applies the preferences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, field_validator

from exacto_plugin.config.blocks import no_bool
from exacto_plugin.config.hard_filters import HardFilterSettings, Names
from exacto_plugin.config.messages import expectation_with_example, keys_at
from exacto_plugin.core.routing.policy import BODY_SORTS, Preference
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, invalid_preference, unknown_field

if TYPE_CHECKING:
    from exacto_plugin.core.model import Sort

Bound = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, allow_inf_nan=False)]


class _ProviderPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SortPreference(_ProviderPart):
    """``sort`` as an object; a plain word is accepted too."""

    by: Literal["price", "throughput", "latency", "exacto"]
    partition: Literal["model", "none"] = "model"
    """``none``: several ``models`` are sorted by the best deployment of each."""


class PercentileBounds(_ProviderPart):
    """Bounds on percentiles over the last 5 minutes; a number alone is ``p50``."""

    p50: Bound | None = None
    p75: Bound | None = None
    p90: Bound | None = None
    p99: Bound | None = None

    def to_preferences(self, of: Literal["throughput", "latency"]) -> tuple[Preference, ...]:
        """Convert the bounds to preferences."""
        bounds = ((int(name[1:]), bound) for name, bound in self if bound is not None)
        return tuple(Preference(of, percentile, bound) for percentile, bound in bounds)


def _word_as_object(value: object) -> object:
    return {"by": value} if isinstance(value, str) else value


def _number_as_object(value: object) -> object:
    return {"p50": value} if isinstance(value, int | float | str) and not isinstance(value, bool) else value


Cutoffs = Annotated[PercentileBounds, BeforeValidator(_number_as_object)]


class ProviderObject(HardFilterSettings):
    """Whole ``provider`` object, with OpenRouter's names and meanings.

    Null and empty lists count as not set.
    """

    order: Names | None = None
    allow_fallbacks: StrictBool | None = None
    sort: Annotated[SortPreference, BeforeValidator(_word_as_object)] | None = None
    preferred_min_throughput: Cutoffs | None = None
    preferred_max_latency: Cutoffs | None = None
    require_parameters: StrictBool | None = None

    @field_validator("order", "only", "ignore", "quantizations", mode="before")
    @classmethod
    def _nothing_asked(cls, value: object) -> object:
        return None if value == [] else value

    @property
    def body_sort(self) -> Sort | None:
        """Requested sort; None without one."""
        return BODY_SORTS[self.sort.by] if self.sort is not None else None

    @property
    def preferences(self) -> tuple[Preference, ...]:
        """Preferences on throughput and latency."""
        speed, latency = self.preferred_min_throughput, self.preferred_max_latency
        return (speed.to_preferences("throughput") if speed else ()) + (
            latency.to_preferences("latency") if latency else ()
        )


NO_PREFERENCES = ProviderObject()


def provider_in(kwargs: Mapping[str, Any]) -> object:
    """Return the ``provider`` object of a request, from the body or ``extra_body``."""
    found = kwargs.get("provider")
    return extra_provider(kwargs) if found is None else found


def extra_provider(kwargs: Mapping[str, Any]) -> object:
    """Return the ``provider`` object in ``extra_body``; None without one.

    Python callers send it there.
    """
    extra = kwargs.get("extra_body")
    return extra.get("provider") if extra and isinstance(extra, Mapping) else None


_HARD_FILTERS = ("only", "ignore", "max_price", "quantizations", "data_collection", "zdr", "require_parameters")


def client_hard_filter(provider: object) -> str | None:
    """Return the first hard filter of an unchecked ``provider`` object.

    None without any.
    """
    if not isinstance(provider, Mapping):
        return None
    asked = [name for name in _HARD_FILTERS if provider.get(name) and provider.get(name) != "allow"]
    return asked[0] if asked else "allow_fallbacks" if provider.get("allow_fallbacks") is False else None


def read_provider(provider: object, model_group: str) -> ProviderObject:
    """Check a ``provider`` object.

    Args:
        provider: as the client sent it; None without one.
        model_group: the model group that the refusal names.

    Raises:
        ExactoRefusedError: it is malformed; the refusal (HTTP 400) names the field.
    """
    if provider is None:
        return NO_PREFERENCES
    if not isinstance(provider, Mapping):
        raise ExactoRefusedError(invalid_preference("provider", type(provider).__name__, "an object"), model_group)
    try:
        return ProviderObject.model_validate(provider)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        path, value = _written_at(provider, fault["loc"])
        if fault["type"] == "extra_forbidden":
            refusal = unknown_field(path, fault["loc"][-1], keys_at(ProviderObject, fault["loc"][:-1]))
        else:
            refusal = invalid_preference(path, value, expectation_with_example(fault))
        raise ExactoRefusedError(refusal, model_group) from None


def _written_at(provider: Any, loc: tuple[int | str, ...]) -> tuple[str, object]:
    """Return the path of a field in the client's notation, and its value there.

    A word in place of an object is one field.
    """
    path, value = "provider", provider
    for step in loc:
        if isinstance(value, Mapping) and isinstance(step, str):
            path, value = f"{path}.{step}", value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            path, value = f"{path}[{step}]", value[step]
        else:
            break
    return path, value
