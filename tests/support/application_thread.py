"""An application that a thread serves on loopback."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from exacto_plugin.demo.proxy import free_port

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.applications import Starlette


class ApplicationThread:
    """Serves an application, as a context manager.

    Args:
        app: the application.
        name: of the thread, and of what did not start.
        config: more settings of uvicorn.
    """

    def __init__(self, app: Starlette, name: str, **config: Any) -> None:
        self.port = free_port()
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, lifespan="off", log_config=None, **config))
        self._thread = threading.Thread(target=self._server.run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError(f"{self._thread.name} did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()
