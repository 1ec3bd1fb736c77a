"""The plugin's own work on one request, replayed without LiteLLM's.

One real call of a ``litellm.Router`` is recorded: what LiteLLM gives to each hook of the plugin. A replay makes the
same calls in the same order with fresh objects, as the proxy does: the middleware, and inside it the hooks around the
router's call, the headers, and the scoring of the answer. The parse of the body is part of it, though LiteLLM does not
parse the body again.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import litellm
import orjson

from exacto_plugin.config.settings import load_settings
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.call_details import CHOICE_KEY, TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, CURRENT, LOG_KEY
from exacto_plugin.litellm_hooks.router_patches import uninstall
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GROUP: Final = "kimi"
QUESTION: Final = [{"role": "user", "content": "Please book it. " * 20}]
ANSWER: Final = "Your flight is booked, and the seat is by the window. " * 10
ARGUMENTS: Final = '{"field_0": "a", "field_1": "b"}'
HOOKS: Final = (
    "async_filter_deployments",
    "async_pre_call_deployment_hook",
    "log_pre_api_call",
    "async_post_call_success_deployment_hook",
    "async_log_success_event",
)
OURS: Final = (LOG_KEY, ATTEMPT_KEY, TOOLS_KEY, CHOICE_KEY)
"""Keys of the plugin in LiteLLM's details of a call, which a replay begins without."""


def tools(count: int) -> list[dict[str, Any]]:
    """``count`` tools of about 0.7 kB."""
    properties = {f"field_{i}": {"type": "string", "description": "Some words about the field."} for i in range(8)}
    parameters = {"type": "object", "properties": properties, "required": ["field_0", "field_1"]}
    return [{"type": "function", "function": {"name": f"tool_{i}", "parameters": parameters}} for i in range(count)]


def router(deployments: int) -> litellm.Router:
    """A router with one model group and a mocked answer."""
    entries = [
        {
            "model_name": GROUP,
            "litellm_params": {"model": "openai/kimi", "api_key": "x", "api_base": f"http://h{i}.invalid/v1"},
            "model_info": {"id": f"d{i}"},
        }
        for i in range(deployments)
    ]
    return litellm.Router(model_list=entries)


def mocked(count: int) -> dict[str, Any]:
    """The arguments of a call with ``count`` tools and its answer: the last tool called, or a text."""
    if not count:
        return {"mock_response": ANSWER}
    function = {"name": f"tool_{count - 1}", "arguments": ARGUMENTS}
    return {"tools": tools(count), "mock_tool_calls": [{"id": "c", "type": "function", "function": function}]}


@dataclass
class Stages:
    """Nanoseconds of processor time by stage, summed over the replays."""

    spent: dict[str, int] = field(default_factory=dict)
    _since: int = 0

    def begin(self) -> None:
        """Begin a replay."""
        self._since = time.thread_time_ns()

    def end(self, stage: str) -> None:
        """Count the time since the last stage ended."""
        now = time.thread_time_ns()
        self.spent[stage] = self.spent.get(stage, 0) + now - self._since
        self._since = now


class OwnRequest:
    """The plugin's work on one request, as often as wanted.

    Args:
        count: tools that the request offers.
        suffix: the slug's suffix, as ``:exacto``; empty for none.
    """

    def __init__(self, count: int, suffix: str = "") -> None:
        self.runtime = Runtime(load_settings(None))
        self.runtime.recorder.begin(lambda _record: None)
        self.callback = ExactoCallback(self.runtime)
        self.router = router(4)
        self.runtime.routers.set_source(lambda: self.router)
        asked: dict[str, Any] = {"model": f"{GROUP}{suffix}", "messages": QUESTION}
        self.raw = orjson.dumps({**asked, "tools": tools(count)} if count else asked)
        self._count = count
        self._calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._number = 0
        self._hooks: Any = self.callback
        self._pool: Callable[..., Any] = self.callback.routing.select_pool
        self._middleware = middleware_of(self.runtime, lambda: self.router)(self._app)
        self._send_headers = [(b"content-type", b"application/json")]
        self.stages: Stages | None = None
        """Set while stages are timed one by one."""

    async def record(self) -> None:
        """Make the one real call, and keep what LiteLLM gave to the hooks."""
        before = list(litellm.callbacks)
        litellm.callbacks = [*before, self.callback]
        install_patches(self.callback)
        for name in HOOKS:
            setattr(self.callback, name, self._noting(name, getattr(self.callback, name)))
        CURRENT.set(None)
        asked: Any = QUESTION
        await self.router.acompletion(GROUP, asked, **mocked(self._count))
        for _ in range(100):
            if len(self._calls) == len(HOOKS):
                break
            await asyncio.sleep(0.05)
        for name in HOOKS:
            delattr(self.callback, name)
        uninstall()
        litellm.callbacks = before
        assert set(self._calls) == set(HOOKS), f"LiteLLM did not call {set(HOOKS) - set(self._calls)}"

    def _noting(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            self._calls.setdefault(name, (args, dict(kwargs)))
            return hook(*args, **kwargs)

        return noting

    def _stage(self, name: str) -> None:
        if self.stages is not None:
            self.stages.end(name)

    async def run(self) -> None:
        """Do the work of one request, from its first byte to its sample."""
        if self.stages is not None:
            self.stages.begin()
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        scope["headers"] = [(b"content-type", b"application/json")]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.raw, "more_body": False}

        async def send(_: Any) -> None:
            return None

        await self._middleware(scope, receive, send)
        self._stage("middleware")

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        """In LiteLLM's place: call the hooks as it does, and answer."""
        assert scope["parsed_body"]
        self._stage("middleware")
        logging, kwargs = await self._route()
        self._stage("routing")
        hook, details = self._hooks, logging.model_call_details
        _, noted = self._calls["log_pre_api_call"]
        hook.log_pre_api_call(noted["model"], noted["messages"], details)
        _, event = self._calls["async_log_success_event"]
        response = event["response_obj"]
        self._number += 1
        response.id = f"chatcmpl-{self._number}"
        await hook.async_post_call_success_deployment_hook(kwargs, response, None)
        self._stage("hooks around the call")
        await send({"type": "http.response.start", "status": 200, "headers": list(self._send_headers)})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})
        self._stage("middleware")
        await hook.async_log_success_event(
            kwargs=details, response_obj=response, start_time=event["start_time"], end_time=event["end_time"]
        )
        self._stage("scoring")

    async def _route(self) -> tuple[Any, dict[str, Any]]:
        """Return LiteLLM's logging object and the arguments of the call."""
        _, filtered = self._calls["async_filter_deployments"]
        details = {key: value for key, value in self._event().items() if key not in OURS}
        logging = SimpleNamespace(model_call_details=details)
        request = dict(filtered["request_kwargs"])
        kept = await self._hooks.async_filter_deployments(
            model=GROUP,
            healthy_deployments=filtered["healthy_deployments"],
            messages=filtered["messages"],
            request_kwargs=request,
            parent_otel_span=None,
        )
        if self.callback.early_pool is None:  # else the hook has done it
            self._pool(self.router, kept, request)
        (sent, *_), _ = self._calls["async_pre_call_deployment_hook"]
        kwargs = {**sent, "litellm_logging_obj": logging}
        await self._hooks.async_pre_call_deployment_hook(kwargs, None)
        return logging, kwargs

    def _event(self) -> dict[str, Any]:
        event: dict[str, Any] = self._calls["async_log_success_event"][1]["kwargs"]
        return event

    def settle(self) -> None:
        """Write what is pending, as the timer does between requests."""
        self.runtime.recorder.flush(math.inf)


class Harness(OwnRequest):
    """The replay alone: everything of it but the plugin's own work."""

    async def record(self) -> None:
        """Record, then replace every part of the plugin by one that does nothing."""
        await super().record()

        async def nothing(*_a: Any, **_k: Any) -> None:
            return None

        def none(*_a: Any, **_k: Any) -> None:
            return None

        self._hooks = SimpleNamespace(**dict.fromkeys(HOOKS, nothing))
        self._hooks.log_pre_api_call = none
        self._pool = none
        app: Callable[..., Awaitable[None]] = self._app

        async def passed(scope: Any, receive: Any, send: Any) -> None:
            scope["parsed_body"] = self.raw
            await app(scope, receive, send)

        self._middleware = passed  # type: ignore[assignment]
