"""Functions that run when a process ends by itself.

None of them runs when a signal ends the process.
"""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def at_exit(method: Callable[[], Any]) -> None:
    """Call a bound method when the process ends, unless its object is gone by then.

    The last one that was registered is called first.
    """
    atexit.register(_call, weakref.WeakMethod(method))


def _call(reference: weakref.WeakMethod[Callable[[], Any]]) -> None:
    method = reference()
    if method is not None:
        method()
