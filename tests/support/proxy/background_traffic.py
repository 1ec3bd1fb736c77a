"""Requests that flow while a test does something to what is behind them, and what became of each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.proxy.observation import eventually
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.proxy.proxy import Proxy


class Traffic:
    """Requests with tools, one at a time through each proxy, on connections of their own, until it ends.

    Args:
        names: what is asked for, in turn.
        proxies: who is asked.
    """

    def __init__(self, names: Sequence[str], *proxies: Proxy) -> None:
        self._names = names
        self._proxies = proxies
        self._ended = threading.Event()
        self.answered = 0
        self.failed: list[str] = []

    def ask(self, number: int) -> None:
        """One request; the number tells of whom and for what."""
        body = {"model": self._names[number % len(self._names)], "messages": MESSAGES, "tools": TOOLS}
        answer = self._proxies[number % len(self._proxies)].request("POST", "/v1/chat/completions", json=body)
        if answer.status_code == 200:
            self.answered += 1
        else:
            self.failed.append(answer.text)

    def _go_on(self, first: int) -> None:
        number = first
        while not self._ended.is_set():
            self.ask(number)
            number += 1

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Keep as many requests on their way as there are proxies."""
        with ThreadPoolExecutor(len(self._proxies)) as pool:
            ways = [pool.submit(self._go_on, first) for first in range(len(self._proxies))]
            try:
                yield
            finally:
                self._ended.set()
            for way in ways:
                way.result()

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were answered."""
        wanted = self.answered + more
        eventually(lambda: self.answered >= wanted or bool(self.failed), True)
