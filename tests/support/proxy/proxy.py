"""A real LiteLLM proxy for tests: configuration from a dictionary, restricted keys, any server, log at hand.

Starting takes several seconds of processor time, so tests share proxies and change what happens through the control of
the simulated providers and through :meth:`Proxy.set_keys`, both of which act at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import anthropic
import openai
import yaml

from exacto_plugin.demo.proxy import DemoProxy
from tests.support.proxy.bare_http import plain_http
from tests.support.proxy.forkserver import ForkedProxy, understands
from tests.support.proxy.record_check import verify_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import httpx

    from exacto_plugin.demo.provider import SimulatedProviders

Server = Literal["uvicorn", "gunicorn", "granian", "asgi"]
"""What ``litellm`` can serve with, and ``asgi`` for ``uvicorn exacto_plugin.asgi:app`` without ``litellm``."""

MASTER_KEY = "sk-master-of-the-tests"
CALLBACK = "exacto_plugin.callback"
"""The line under ``litellm_settings.callbacks`` that loads the plugin."""

_REPOSITORY = Path(__file__).parents[3]
_SERVER_OPTIONS: Mapping[Server, tuple[str, ...]] = {
    # uvicorn kills a worker that does not answer within 5 seconds, and importing LiteLLM takes longer.
    "uvicorn": ("--timeout_worker_healthcheck", "90"),
    "gunicorn": ("--run_gunicorn",),
    "granian": ("--run_granian",),
    "asgi": ("--timeout-worker-healthcheck", "90"),
}
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
"""Nothing else of the caller's environment reaches the proxy: no keys, no database, no HTTP proxy."""

_AUTH = '''\
"""LiteLLM's custom authentication: keys.json beside this file maps keys to what they may do; read when it changes."""

import json
import os
from pathlib import Path

from fastapi import HTTPException
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

KEYS = Path(__file__).with_name("keys.json")
_read = {"stamp": None, "keys": {}}


def _keys():
    stamp = KEYS.stat().st_mtime_ns
    if stamp != _read["stamp"]:
        _read.update(stamp=stamp, keys=json.loads(KEYS.read_text()))
    return _read["keys"]


async def user_api_key_auth(request, api_key):
    api_key = api_key.removeprefix("Bearer ")
    if api_key == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    spec = _keys().get(api_key)
    if spec is None:
        raise HTTPException(status_code=401, detail="no such key")
    return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.INTERNAL_USER, **spec)
'''


class ProxyDiedError(AssertionError):
    """The proxy ended while tests were using it; the message has the end of its log."""


class AsgiEntry(DemoProxy):
    """The plugin's own ASGI entry under plain uvicorn; the configuration is named by the environment."""

    def __init__(self, config: Path, environment: Mapping[str, str], options: Sequence[str] = ()) -> None:
        super().__init__(config, {**environment, "CONFIG_FILE_PATH": str(config)}, options=options)

    def command(self) -> list[str]:
        """What is run."""
        program = [sys.executable, "-m", "uvicorn", "exacto_plugin.asgi:app", "--lifespan", "on"]
        return [*program, "--host", "127.0.0.1", "--port", str(self.port), *self._options]


class Proxy:
    """``litellm --config ...`` as a process, as a context manager.

    Args:
        config: LiteLLM's configuration; master key, and with ``keys`` the authentication, are added to it.
        directory: where configuration, keys and log are written; the process's working directory.
        keys: restricted keys; None leaves LiteLLM's own authentication with the master key only.
        server: what serves.
        workers: worker processes.
        environment: further environment variables.
        options: further arguments of ``litellm``.
        interpreter: whose environment's ``litellm`` is run, with PYTHONPATH in ``environment`` where the plugin is not
            this one; None: this one's. Its record is not verified, which takes the same version of numpy.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        directory: Path,
        *,
        keys: Mapping[str, Mapping[str, Any]] | None = None,
        server: Server = "uvicorn",
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        interpreter: Path | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._kept = (directory, config)
        self._keys_file = directory / "keys.json"
        self.config_file = file = directory / "config.yaml"
        file.write_text(yaml.safe_dump(_completed(config, authenticated=keys is not None), sort_keys=False))
        if keys is not None:
            (directory / "restricted_keys.py").write_text(_AUTH)
            self.set_keys(keys)
        own = environment or {}
        if interpreter is None:
            self._process = _process(file, server, workers, own, options)
        else:
            self._process = DemoProxy(file, {**_environment(), **own}, options=options, interpreter=interpreter)
        self._verified = interpreter is None
        self._started = False
        self.base_url = self._process.base_url
        self.log_file = self._process.log
        self._clients: dict[object, Any] = {}

    def set_keys(self, keys: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the restricted keys, also while the proxy runs.

        Args:
            keys: key to fields of LiteLLM's ``UserAPIKeyAuth``, for instance ``{"models": ["x"]}``,
                ``{"model_max_budget": {...}}``, ``{"metadata": {"tags": ["paid"]}}`` or ``{"team_id": "t"}``.
        """
        fresh = self._keys_file.with_suffix(".new")
        fresh.write_text(json.dumps(keys))
        fresh.replace(self._keys_file)

    def client(self, key: str = MASTER_KEY, **options: Any) -> openai.OpenAI:
        """An OpenAI client that does not retry; kept for the next test that wants the same."""
        wanted = (key, *sorted(options.items()))
        if wanted not in self._clients:
            defaults: dict[str, Any] = {"max_retries": 0, "timeout": 60.0}
            url = f"{self.base_url}/v1"
            self._clients[wanted] = openai.OpenAI(api_key=key, base_url=url, **{**defaults, **options})
        made = self._clients[wanted]
        assert isinstance(made, openai.OpenAI)
        return made

    def anthropic(self, key: str = MASTER_KEY) -> anthropic.Anthropic:
        """An Anthropic client that does not retry; whoever wants it closes it."""
        below = anthropic.DefaultHttpxClient(verify=False)
        return anthropic.Anthropic(api_key=key, base_url=self.base_url, max_retries=0, timeout=60.0, http_client=below)

    def request(self, method: str, path: str, key: str = MASTER_KEY, **more: Any) -> httpx.Response:
        """A bare request on a connection of its own, so that any worker may answer.

        Args:
            method: of HTTP.
            path: below the proxy's address.
            key: the API key.
            more: as for ``httpx.request``.
        """
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
        return plain_http().request(method, f"{self.base_url}{path}", headers=headers, **more)

    def log(self) -> str:
        """Everything the proxy wrote so far."""
        return self.log_file.read_text(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        """The last lines of the log."""
        return self._process.log_tail(lines)

    @property
    def pid(self) -> int | None:
        """The process that ``litellm`` started as; None when it is not running."""
        return self._process.pid

    def check_alive(self) -> None:
        """Raise when the proxy has ended though nobody stopped it.

        Raises:
            ProxyDiedError: with the end of its log.
        """
        if self._started and self.pid is None:
            raise ProxyDiedError(f"the proxy died:\n{self.log_tail()}")

    def stop(self) -> None:
        """End the proxy and all its workers; more than once does no harm."""
        self._started = False
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._process.stop()

    def __enter__(self) -> Self:
        self._process.__enter__()
        self._started = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if kind is None and self._verified:
            verify_records(*self._kept)


def _process(file: Path, server: Server, workers: int, own: Mapping[str, str], options: Sequence[str]) -> DemoProxy:
    """The process, by the quickest way that comes to the same."""
    arguments = (*_SERVER_OPTIONS[server], *options)
    environment = {**_environment(), **own}
    if server == "uvicorn" and understands(own):
        return ForkedProxy(file, environment, _environment(), arguments, workers)
    entry, number = (AsgiEntry, "--workers") if server == "asgi" else (DemoProxy, "--num_workers")
    return entry(file, environment, options=(*arguments, number, str(workers)))


def deployment(
    providers: SimulatedProviders,
    provider: str,
    group: str = "kimi",
    *,
    info: Mapping[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """One ``model_list`` entry whose upstream is a simulated provider.

    Args:
        provider: the simulated provider's name; also the deployment's id, unless ``info`` says otherwise.
        group: the public model name.
        info: more of ``model_info``.
        params: more of ``litellm_params``, for instance prices, ``order`` or ``tags``.
    """
    return {
        "model_name": group,
        "litellm_params": {
            "model": f"openai/{group}",
            "api_base": providers.api_base(provider),
            "api_key": f"sk-upstream-{provider}",
            **params,
        },
        "model_info": {"id": provider, **(info or {})},
    }


def _completed(config: Mapping[str, Any], *, authenticated: bool) -> dict[str, Any]:
    general: dict[str, Any] = {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    settings: dict[str, Any] = {}
    if authenticated:
        general |= {"custom_auth": "restricted_keys.user_api_key_auth", "custom_auth_run_common_checks": True}
        settings = {"enable_post_custom_auth_checks": True}
    return {
        **config,
        "general_settings": {**general, **config.get("general_settings", {})},
        "litellm_settings": {**settings, **config.get("litellm_settings", {})},
    }


def _environment() -> dict[str, str]:
    """The environment of a proxy that reaches nothing outside and writes little."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        # The caller's own may have other versions of libraries.
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(_REPOSITORY)))),
        "PYTHONUNBUFFERED": "1",
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "WARNING",
        "NO_PROXY": "127.0.0.1,localhost",
    }
