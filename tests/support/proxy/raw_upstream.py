"""An upstream that serves stored answers byte for byte, one under each path, on every surface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.application_thread import ApplicationThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from starlette.requests import Request

ANSWERS = Path(__file__).parents[2] / "data" / "provider_answers.jsonl"
_MODELS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash", "ollama_chat": "qwen2.5-coder"}
_BEDROCK = "anthropic.claude-3-5-sonnet-20240620-v1:0"
_KINDS = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


def stored_answers() -> list[dict[str, Any]]:
    """Every stored answer: name, surface, provider, request, the raw answer in each mode, and what to make of it."""
    return [json.loads(line) for line in ANSWERS.read_text().splitlines()]


class RawUpstream(ApplicationThread):
    """Serves answers on loopback, as a context manager."""

    def __init__(self, answers: Sequence[Mapping[str, Any]]) -> None:
        self._answers = {str(answer["name"]): answer for answer in answers}
        app = Starlette(routes=[Route("/{name}/{rest:path}", self._answer, methods=["POST"])])
        super().__init__(app, "raw-upstream")

    def deployment(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The entry of ``model_list`` whose deployment gives an answer."""
        name, provider = answer["name"], answer["provider"]
        base = f"http://127.0.0.1:{self.port}/{name}"
        params: dict[str, Any] = {"model": f"{provider}/{answer.get('model') or _MODELS.get(provider, 'm')}"}
        if provider == "bedrock":
            params = {"model": f"bedrock/converse/{answer.get('model') or _BEDROCK}", "aws_region_name": "us-east-1"}
            params |= {"aws_access_key_id": "x", "aws_secret_access_key": "y", "aws_bedrock_runtime_endpoint": base}
        else:
            params |= {"api_key": "sk-raw", "api_base": base if provider in _MODELS else f"{base}/v1"}
        return {"model_name": name, "litellm_params": params | answer.get("params", {}), "model_info": {"id": name}}

    async def _answer(self, request: Request) -> Response:
        answer = self._answers[request.path_params["name"]]
        asked = orjson.loads(await request.body())
        if "stream" in answer and (asked.get("stream") or "stream" in request.path_params["rest"].lower()):
            kind = answer["stream_kind"]
            return StreamingResponse(_pieces(answer["stream"], kind), media_type=_KINDS[kind])
        return JSONResponse(answer["whole"], status_code=answer.get("status", 200))


async def _pieces(stream: str, kind: str) -> AsyncIterator[bytes]:
    blank = "\n\n" if kind == "sse" else "\n"
    for piece in stream.split(blank):
        if piece.strip():
            yield f"{piece}{blank}".encode()
