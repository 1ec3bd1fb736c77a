"""The isolated proxy as a process, which ends with this one.

with isolated_proxy(Path("config.yaml")) as proxy:
    ask(proxy.base_url, proxy.key, model=proxy.models.targets[0].deployment)
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exacto_plugin.bench.isolated.configuration import NOT_PASSED, IsolatedModels, isolated_models
from exacto_plugin.bench.isolated.costs import BUDGET, COSTS, spent_in
from exacto_plugin.bench.isolated.guarded import GuardedProcess
from exacto_plugin.demo.proxy import DemoProxy
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks.checks.config_file import read_merged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class IsolatedProxy:
    """A running isolated proxy."""

    base_url: str
    """``http://127.0.0.1:PORT``; append ``/v1`` for clients of OpenAI's API."""
    key: str
    """Random, of this process only."""
    models: IsolatedModels
    costs: Path
    """The file with one line of JSON for each answer."""

    def spent_usd(self) -> float:
        """Return the cost of all answers on file."""
        return spent_in(self.costs)


@contextmanager
def isolated_proxy(
    config: Path, *, max_usd: float | None = None, costs: Path | None = None, directory: Path | None = None
) -> Iterator[IsolatedProxy]:
    """Run an isolated proxy, and stop it in any case.

    Args:
        config: LiteLLM's config.yaml of the proxy that serves users; only read.
        max_usd: requests are refused with status 402 once its answers cost this much; None: no limit.
        costs: the file for what answers cost, which may have lines already; None: one that ends with the proxy.
        directory: of its log, which stays; None: a temporary one.

    Raises:
        SettingsError: the configuration cannot be read.
        ExactoError: it has no deployment that can be asked, or the proxy did not start.
    """
    models = isolated_models(read_merged(config))
    if not models.targets:
        raise ExactoError(f"{config}: no deployment can be asked" + "".join(f"; {one}" for one in models.skipped))
    key = f"sk-{secrets.token_urlsafe(24)}"
    with tempfile.TemporaryDirectory(prefix="exacto-bench-") as made:
        file = Path(made) / "config.yaml"  # it may have the keys of providers: the directory is the user's alone
        file.write_text(yaml.safe_dump(models.config), encoding="utf-8")
        counted = (costs or Path(made) / "costs.jsonl").absolute()
        log = (directory or Path(made)) / "proxy.log"
        proxy = _GuardedProxy(file, _environment(key, counted, max_usd), log)
        try:
            proxy.__enter__()
        except RuntimeError as error:
            raise ExactoError(str(error)) from None
        try:
            file.unlink()  # LiteLLM has read it, and a kill -9 leaves no keys behind
            yield IsolatedProxy(proxy.base_url, key, models, counted)
        finally:
            proxy.stop()


def _environment(key: str, costs: Path, max_usd: float | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NOT_PASSED}
    budget = {} if max_usd is None else {BUDGET: repr(max_usd)}
    # LiteLLM in development mode reads a .env file, which may name a database.
    return {**kept, **budget, COSTS: str(costs), "LITELLM_MASTER_KEY": key, "LITELLM_MODE": "PRODUCTION"}


class _GuardedProxy(DemoProxy):
    """The proxy below a guard."""

    def __init__(self, config: Path, environment: Mapping[str, str], log: Path) -> None:
        super().__init__(config, environment)
        self.log = log

    def launch(self, log: BinaryIO) -> Any:
        """Start it below a guard."""
        return GuardedProcess(self.command(), self._environment, self._config.parent, log)
