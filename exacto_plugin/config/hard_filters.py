"""The form of hard filters: the same names in settings, metadata and requests.

Only the form; the filters are applied by :mod:`exacto_plugin.core.routing.filters`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from exacto_plugin.config.blocks import no_bool
from exacto_plugin.core.model import Sort
from exacto_plugin.core.routing.policy import Filter


def _as_text(value: object) -> object:
    """Refuse text that is not one word.

    OpenRouter's list of quantizations is open, but all of them are words.
    """
    if isinstance(value, str) and not re.fullmatch(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*\s*", value):
        raise ValueError("expected a word such as fp8, int4 or unknown")
    return value


Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], Field(min_length=1)]
Quantization = Annotated[str, BeforeValidator(_as_text)]
Price = Annotated[float, BeforeValidator(no_bool), Field(ge=0.0, allow_inf_nan=False)]


DefaultSort = Literal[Sort.AUTO, Sort.EXACTO, Sort.PRICE_WEIGHTED, Sort.PRICE, Sort.THROUGHPUT, Sort.LATENCY, Sort.NONE]
"""Sorts that can be a default: every one but a client's own ``order``."""


class _FilterBlock(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class MaxPrice(_FilterBlock):
    """The highest accepted prices, in USD per million tokens; None: any."""

    prompt: Price | None = None
    """USD per million prompt tokens."""
    completion: Price | None = None
    """USD per million completion tokens."""


class HardFilterSettings(_FilterBlock):
    """Hard filters of one source; None where it sets none.

    Names and meaning are OpenRouter's.
    """

    only: Names | None = None
    """The only providers or deployment ids that may be asked."""
    ignore: Names | None = None
    """Providers or deployment ids that may not be asked."""
    max_price: MaxPrice | None = None
    """Hard caps in USD per million tokens, ``prompt`` and ``completion``.
    Unknown prices count as too high."""
    quantizations: Annotated[tuple[Quantization, ...], Field(min_length=1)] | None = None
    """Allowed quantizations, as declared in ``model_info.quantization``.
    ``unknown``: undeclared."""
    data_collection: Literal["allow", "deny"] | None = None
    """``deny``: only deployments that declare the same in ``model_info``.
    The declaration is ``model_info.data_collection: deny`` (or ``zdr``)."""
    zdr: StrictBool | None = None
    """true: only deployments that declare ``model_info.zdr: true``.
    ZDR is zero data retention."""

    def filters(self, source: str = "") -> tuple[Filter, ...]:
        """Return the filters that this block sets.

        Args:
            source: the source in words for the client; empty for the client's own.
        """
        caps = self.max_price
        prices = (("prompt", caps.prompt), ("completion", caps.completion)) if caps else ()
        written: dict[str, tuple[str, ...] | tuple[tuple[str, float], ...]] = {
            "only": self.only or (),
            "ignore": self.ignore or (),
            "max_price": tuple((kind, cap) for kind, cap in prices if cap is not None),
            "quantizations": tuple(name.strip().lower() for name in self.quantizations or ()),
            "data_collection": ("deny",) if self.data_collection == "deny" else (),
            "zdr": ("true",) if self.zdr else (),
        }
        return tuple(Filter(name, value, source) for name, value in written.items() if value)
