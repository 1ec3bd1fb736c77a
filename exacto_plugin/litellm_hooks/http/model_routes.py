"""LiteLLM's routes that call a model, by their whole paths.

Pass-through endpoints, LiteLLM's own (``/openai/...``, ``/anthropic/...``) and those that an operator defines, may end
in the same way. They forward a request as it is to an API with names of its own, so nothing of it is read or changed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_MODEL_ROUTE: Final = re.compile(
    r"(?:/v1)?/(?:chat/completions|completions|responses(?:/compact|/input_tokens)?|embeddings|moderations"
    r"|images/(?:generations|edits|variations)|audio/(?:speech|transcriptions)|rerank|ocr|videos)"
    r"|/v2/rerank|/v1/messages(?:/count_tokens)?|/openai/v1/responses(?:/compact|/input_tokens)?"
    r"|/claude_code_gateway/v1/messages(?:/count_tokens)?|/(?:cursor|queue)/chat/completions"
    r"|/utils/token_counter|(?:/v1beta)?/interactions"
)
"""Routes whose JSON body has a ``model``.

Administration routes are not among them (``/key/generate`` has ``models``).
"""

_BY_PATH: Final = (
    (("/openai/deployments/", "/engines/"), re.compile(
        r"/(?:chat/completions|completions|embeddings|images/generations|audio/speech)$"
    )),
    (("/v1beta/models/", "/models/"), re.compile(r":(?:generateContent|streamGenerateContent|countTokens)$")),
)  # fmt: skip
"""Beginnings and ends of routes with the model in the path.

These are Azure's, OpenAI's old engines and Gemini's.
"""


_SURFACES: Final = (("/chat/completions", "chat"), ("/responses", "responses"), ("/messages", "messages"))


def surface_of(path: str) -> str:
    """Return the surface of a path; empty if its answers have no calls."""
    return next((name for end, name in _SURFACES if path.rstrip("/").endswith(end)), "")


class PathModel(NamedTuple):
    """Path with a model, split into its parts."""

    head: str
    model: str
    tail: str


def path_model(path: str, root_path: str = "") -> PathModel | None:
    """Split a path that contains a model; None for other paths.

    Takes time linear in the length of the path, since any client may send one of any length.

    Args:
        path: of a request.
        root_path: the part of the path under which the proxy is served.
    """
    begins = len(path) - len(_bare(path, root_path))
    for heads, end in _BY_PATH:
        if not path.startswith(heads, begins) or (tail := end.search(path)) is None:
            continue
        head = next(head for head in heads if path.startswith(head, begins))
        model = path[begins + len(head) : tail.start()]
        if model and not model.startswith("/") and not model.endswith("/"):
            return PathModel(path[: begins + len(head)], model, tail.group())
    return None


def is_model_route(path: str, root_path: str = "") -> bool:
    """Return whether a path is a route whose body names a model."""
    return _MODEL_ROUTE.fullmatch(_bare(path, root_path).removesuffix("/")) is not None


def _bare(path: str, root_path: str) -> str:
    return path.removeprefix(root_path.rstrip("/"))
