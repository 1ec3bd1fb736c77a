"""The finish reasons of streams, in the provider's own words.

LiteLLM maps every reason to one of OpenAI's, unknown ones to ``stop``. Of whole answers it keeps the original in
``native_finish_reason``; of streams it does not, so its mapping is observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litellm.litellm_core_utils import core_helpers, streaming_handler
from litellm.types import utils

from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable

MAP: Final = "map_finish_reason"
OWNERS: Final = (utils, core_helpers, streaming_handler)
"""Modules through whose name LiteLLM maps the reasons of all providers."""


def observe_mapping(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return LiteLLM's mapping, which also notes other reasons than its own.

    They are noted at the attempt that the current task makes.
    """

    def mapped(finish_reason: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(finish_reason, *args, **kwargs)
        state = CURRENT.get()
        attempt = state.served_by if state is not None else None
        if attempt is not None and isinstance(finish_reason, str) and finish_reason != found:
            attempt.finish_reasons.add(finish_reason)
        return found

    return mapped
