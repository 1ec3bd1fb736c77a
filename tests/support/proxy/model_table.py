"""Runs inside a proxy under test: LiteLLM's table of models, without the database that it lies in.

``/model/new``, ``/model/update`` and ``/model/delete`` write a row to PostgreSQL through the prisma engine, a program
that is downloaded when it is first used, and which these tests therefore do without. What LiteLLM does next, in the
same request and every few seconds in all workers, is to make its live router match the rows. That step is LiteLLM's own
here; the rows lie in a file that a test writes, and values in them are encrypted as LiteLLM encrypts them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from litellm.integrations.custom_logger import CustomLogger

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "MODEL_TABLE_FILE"


class ModelTable:
    """The rows, as a test writes them; LiteLLM reads them with the next request that it serves.

    Args:
        directory: where the file is kept.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "models.json"
        self.environment: Mapping[str, str] = {FILE: str(self._file)}
        self._rows: dict[str, Mapping[str, Any]] = {}

    def put(self, *entries: Mapping[str, Any]) -> None:
        """Add these ``model_list`` entries, or replace those of the same ``model_info.id``."""
        self._rows.update((entry["model_info"]["id"], entry) for entry in entries)
        self._write()

    def delete(self, litellm_id: str) -> None:
        """Take a row out."""
        del self._rows[litellm_id]
        self._write()

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(list(self._rows.values())))
        fresh.replace(self._file)


class Reconciler(CustomLogger):
    """Looks at the file at every request, and hands its rows to LiteLLM when they changed."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = 0

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Do what LiteLLM does with the rows of its database."""
        entries = self._changed()
        if entries is not None:
            await _reconcile(entries)

    def _changed(self) -> list[dict[str, Any]] | None:
        """The rows, when they are others than last time."""
        file = Path(os.environ[FILE])
        stamp = file.stat().st_mtime_ns if file.exists() else 0
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        entries: list[dict[str, Any]] = json.loads(file.read_text())
        return entries


async def _reconcile(entries: list[dict[str, Any]]) -> None:
    from litellm.proxy.common_utils.encrypt_decrypt_utils import encrypt_value_helper
    from litellm.proxy.proxy_server import proxy_config, proxy_logging_obj

    rows: list[Any] = []
    for entry in entries:
        params = {
            name: encrypt_value_helper(value=value) if isinstance(value, str) else value
            for name, value in entry["litellm_params"].items()
        }
        info = {**entry["model_info"]}
        row = {"model_id": info["id"], "model_name": entry["model_name"], "litellm_params": params, "model_info": info}
        rows.append(SimpleNamespace(**row, blocked=False))
    await proxy_config._update_llm_router(rows, proxy_logging_obj)


callback = Reconciler()
