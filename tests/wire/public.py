"""What operators, clients and programs name: settings, headers, fields, errors, metrics, stages, import paths."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx

import exacto_plugin
from exacto_plugin.cli.proxy_client import KEYS
from exacto_plugin.config.diff import AT_THE_START, digest
from exacto_plugin.config.settings import BLOCK, GroupSettings, Settings
from exacto_plugin.config.sources import CONFIG_VARIABLE
from exacto_plugin.core.decision import Decision, Ranked
from exacto_plugin.core.model import Sort, Tier
from exacto_plugin.core.routing.filters import BLOCK as CALLER_BLOCK
from exacto_plugin.core.routing.policy import Policy, Slug
from exacto_plugin.litellm_hooks.context import installation_salt
from exacto_plugin.litellm_hooks.deployments.candidates import generated_key, model_fingerprint
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.refusal import MARKER, invalid_preference, no_endpoints
from exacto_plugin.litellm_hooks.request.attempts import Attempt, RescueProgress
from exacto_plugin.litellm_hooks.request.conversation_key import conversation_of
from exacto_plugin.litellm_hooks.request.key_defaults import KeyBlock
from exacto_plugin.litellm_hooks.request.provider_object import ProviderObject
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.sharing.redis.source import key_prefix
from exacto_plugin.store.location import default_location
from tests.support.served_proxy import GROUPS, ServedProxy
from tests.test_telemetry import count_everything, described, measured
from tests.wire.plain import shape
from tests.wire.story import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from starlette.types import Receive, Scope, Send

KIMI = next(iter(GROUPS))
REPORTING = ("guard", "fail_open", "report", "fault")
"""Methods whose first argument is the stage of a fault."""
PATHS = (
    "exacto_plugin:Exacto",
    "exacto_plugin:ExactoError",
    "exacto_plugin:ExactoRefusedError",
    "exacto_plugin:SettingsError",
    "exacto_plugin:StoreError",
    "exacto_plugin:UnknownNameError",
    "exacto_plugin:__version__",
    "exacto_plugin:callback",
    "exacto_plugin.asgi:app",
    "exacto_plugin.demo.provider:main",
)
"""What configurations, programs and the documentation name."""


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> Any:
    """The whole block with its defaults, exceptions of model groups, the metadata of keys, and where they stand."""
    return {
        "block": BLOCK,
        "file": CONFIG_VARIABLE,
        "defaults": Settings().model_dump(mode="json"),
        "model_groups.*": _fields(GroupSettings),
        "metadata of keys and teams": {CALLER_BLOCK: _fields(KeyBlock)},
        "at the start only": sorted(AT_THE_START),
        "digest of the defaults": digest(Settings()),
    }


def _fields(model: type[BaseModel]) -> Any:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = [one for one in _models(field.annotation) if one is not model]
        found[name] = [_fields(one) for one in inner] or "a value"
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


# --- clients ----------------------------------------------------------------------------------------------------------


def clients() -> Any:
    """Headers and objects of an answer, errors, and the fields of the ``provider`` object."""
    answer = _answered()
    errors = {
        "nobody is left": no_endpoints("g", "curated", ["a"], ["a-ai"]),
        "all cool down": no_endpoints("g", "curated", ["a"], [], 12.5),
        "malformed": invalid_preference("provider.sort", "x", "a word"),
    }
    return {
        "headers": {name: value for name, value in sorted(answer.headers.items()) if name.startswith("x-exacto")},
        "metadata": shape({key: value for key, value in answer.json().items() if key.startswith("exacto")}, NAMES),
        "errors": {
            name: {
                "status": error.status,
                "type": [json.loads(error.body(anthropic=anthropic))["error"]["type"] for anthropic in (False, True)],
                "keys": [shape(json.loads(error.body(anthropic=anthropic))) for anthropic in (False, True)],
                "headers": [[key.decode(), value.decode()] for key, value in error.headers()],
            }
            for name, error in errors.items()
        },
        "mark of refusals in LiteLLM": MARKER,
        "provider": _fields(ProviderObject),
    }


def _answered() -> httpx.Response:
    """The answer to a request that was rescued, with everything that clients may be told."""
    proxy = ServedProxy()
    first, second, *_ = (Attempt(one, KIMI, Tier.VERIFIED_GOOD) for one in proxy.candidates(KIMI))
    ranking = tuple(Ranked(one.candidate.id, one.candidate.key, 0, Tier.VERIFIED_GOOD) for one in (first, second))

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        state = CURRENT.get()
        assert state is not None
        state.model_group, state.routing.policy, state.slugs.slug = KIMI, Policy(Sort.EXACTO), Slug(KIMI, ("exacto",))
        state.routing.decision = Decision(Sort.EXACTO, ranking, (first.candidate.id,), applied=True, reason="tiers")
        state.decision_id, state.routing.snapshot_id = "0123456789abcdef", "mywppcdc-0a1b"
        state.routing.candidates = {one.candidate.id: one.candidate for one in (first, second)}
        state.attempts = [first, second]
        state.rescue = RescueProgress(first, attempts=1, answered_by=second, extra_cost=0.002)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"object": "chat.completion", "model": "m"}'})

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(middleware_of(proxy.runtime, lambda: proxy.router)(served))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            headers = {"X-Exacto-Metadata": "enabled"}
            return await client.post("/v1/chat/completions", json={"model": "m"}, headers=headers)

    return asyncio.run(asked())


# --- derived names ----------------------------------------------------------------------------------------------------


def derived_names() -> Any:
    """Names that are made of others: where a store is, what a deployment's history and a conversation are called."""
    deployment = {
        "litellm_params": {"model": "openai/kimi-k2", "api_base": "https://api.example.com/v1", "api_key": "sk-1"},
        "model_info": {"quantization": "fp8"},
    }
    kwargs = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]}
    with mock.patch.dict("os.environ", {"LITELLM_SALT_KEY": "sk-salt"}):
        salt, author = installation_salt(), ServedProxy().runtime.overrides.author("an operator")
    with tempfile.TemporaryDirectory() as state:
        configs = (None, "/etc/litellm/config.yaml")
        places = [
            Path(default_location(config, {"XDG_STATE_HOME": state}).name).relative_to(state) for config in configs
        ]
    conversation = conversation_of(kwargs, {"user_api_key_hash": "0f"}, "kimi-k2", salt)
    named = conversation_of({**kwargs, "session_id": "s1"}, {}, "kimi-k2", salt)
    assert conversation is not None
    assert named is not None
    return {
        "stores": [place.as_posix() for place in places],
        "deployment": generated_key("moonshot", "openai/kimi-k2", "api.example.com"),
        "what a deployment is": model_fingerprint(deployment),
        "salt": salt.hex(),
        "author of an override": author,
        "conversations": [conversation.key.hex(), named.key.hex()],
        "redis": key_prefix("exacto"),
        "keys of the command line": list(KEYS),
    }


# --- telemetry ------------------------------------------------------------------------------------------------------


def metrics() -> Any:
    """Every instrument: kind, unit, attributes, bounds of buckets."""
    bench = measured()
    count_everything(bench.runtime)
    return {name: described(metric) for name, metric in sorted(bench.metrics().items())}


def stages() -> Any:
    """Values of ``exacto.plugin.stage``: literals where faults are reported, defaults of parameters named so."""
    found: set[str] = set()
    for path in Path(exacto_plugin.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found |= {
                one.value for one in _stages(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    return sorted(found)


def _stages(node: ast.AST) -> Iterator[ast.expr | None]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        yield from node.args[:1] if name in REPORTING else ()
        yield from (one.value for one in node.keywords if one.arg == "stage")
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from (
            value for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if one.arg == "stage"
        )


# --- Python -----------------------------------------------------------------------------------------------------------


def python_names() -> Any:
    """Import paths that others use, the console script, and the methods of ``Exacto`` with their parameters."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    exacto = exacto_plugin.Exacto
    methods = {name: one for name, one in inspect.getmembers(exacto, callable) if not name.startswith("_")}
    return {
        "paths": _kinds([*PATHS, project["scripts"]["exacto"]]),
        "scripts": project["scripts"],
        "Exacto": {
            name: list(inspect.signature(method).parameters) for name, method in {"": exacto, **methods}.items()
        },
    }


def _kinds(paths: Sequence[str]) -> dict[str, str]:
    """What is behind each import path; in a process of its own, since the callback is made once in each."""
    code = (
        "import importlib, json, sys\n"
        "named = [path.split(':') for path in sys.argv[1:]]\n"
        "found = {':'.join(one): getattr(importlib.import_module(one[0]), one[1]) for one in named}\n"
        "kinds = {path: 'class' if isinstance(one, type) else 'callable' if callable(one) else 'value' for path, one in"
        " found.items()}\n"
        "print(json.dumps(kinds))\n"
    )
    told = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True).stdout
    return dict(json.loads(told.splitlines()[-1]))


SECTIONS = (settings, clients, derived_names, metrics, stages, python_names)
