"""One question on every surface of the proxy, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.proxy.openai_client import ask
from tests.support.proxy.questions import MESSAGES

if TYPE_CHECKING:
    from tests.support.proxy.proxy import Proxy


def ask_everywhere(proxy: Proxy, model: str, more: dict[str, Any]) -> None:
    """Ask on every surface, whole and streamed."""
    client = proxy.client()
    for stream in (False, True):
        ask(proxy, model, stream=stream, **more)
        text: Any = client.completions.create(model=model, prompt="hello", stream=stream, extra_body=more)
        responses: Any = client.responses.create(model=model, input="hello", stream=stream, extra_body=more)
        with proxy.anthropic() as anthropic_client:
            message: Any = anthropic_client.messages.create(
                model=model, max_tokens=9, messages=MESSAGES, stream=stream, extra_body=more
            )
            for answer in (text, responses, message) if stream else ():
                assert list(answer)
    client.embeddings.create(model=model, input="hello", extra_body=more)
