"""Runs inside a proxy under test: adds a deployment to LiteLLM's live router when a file tells to.

LiteLLM adds models at run time through its database, which these tests do not have; what its ``/model/new`` does to the
router in the end is the one call that is made here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from litellm import Deployment
from litellm.integrations.custom_logger import CustomLogger

FILE = "NEWCOMER_FILE"


class Newcomer(CustomLogger):
    """Looks for the file at every request and takes what is in it once."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Add the deployment that the file describes."""
        described = _taken(Path(os.environ[FILE]))
        if described is not None:
            from litellm.proxy.proxy_server import llm_router

            assert llm_router is not None
            llm_router.add_deployment(Deployment(**described))


def _taken(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    described: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    return described


callback = Newcomer()
