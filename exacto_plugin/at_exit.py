"""What is done when a process ends by itself; a process that is ended by a signal does none of it."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def at_exit(method: Callable[[], Any]) -> None:
    """Call a bound method when the process ends, unless its object is gone by then. The last one is called first."""
    atexit.register(_call, weakref.WeakMethod(method))


def _call(reference: weakref.WeakMethod[Callable[[], Any]]) -> None:
    method = reference()
    if method is not None:
        method()
