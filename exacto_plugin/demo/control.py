"""Client of the simulated providers' control: changes behaviours while they run and asks what they saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from exacto_plugin.demo.behaviour import Behaviour


class ProviderControl:
    """Synchronous, so that tests and the demonstration can use it between requests.

    Args:
        base_url: ``http://127.0.0.1:PORT`` of the server.
    """

    def __init__(self, base_url: str) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=10.0, trust_env=False)

    def behave(self, provider: str, **fields: Any) -> None:
        """Change the named fields of a provider's behaviour; ``next`` sets its script.

        Raises:
            ValueError: the behaviour is malformed.
        """
        self._set("POST", provider, fields)

    def replace(self, provider: str, behaviour: Behaviour) -> None:
        """Give a provider another behaviour altogether."""
        self._set("PUT", provider, behaviour.model_dump(mode="json"))

    def state(self, provider: str) -> dict[str, Any]:
        """Behaviour, number of requests and what was served, by act."""
        return self._json(self._client.get(f"/control/{provider}"))

    def states(self) -> dict[str, dict[str, Any]]:
        """The state of every provider that was asked or set so far."""
        return self._json(self._client.get("/control"))

    def acts(self, provider: str) -> dict[str, int]:
        """What a provider served so far: an act or a status, to how often."""
        return dict(self.state(provider)["acts"])

    def requests(self, provider: str) -> int:
        """How often a provider was asked so far."""
        return int(self.state(provider)["requests"])

    def seen(self, provider: str) -> list[dict[str, Any]]:
        """``path``, ``headers`` and ``body`` of the latest requests, oldest first."""
        return list(self._client.get(f"/control/{provider}/seen").raise_for_status().json())

    def forget_seen(self, provider: str) -> None:
        """Forget the requests, keep the counts."""
        self._client.delete(f"/control/{provider}/seen").raise_for_status()

    def reset(self, provider: str | None = None) -> None:
        """Put one provider, or all of them, back to how they began."""
        self._client.delete("/control" if provider is None else f"/control/{provider}").raise_for_status()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _set(self, method: str, provider: str, fields: dict[str, Any]) -> None:
        answer = self._client.request(method, f"/control/{provider}", json=fields)
        if answer.status_code == 422:
            raise ValueError(answer.json()["error"])
        answer.raise_for_status()

    @staticmethod
    def _json(answer: httpx.Response) -> dict[str, Any]:
        return dict(answer.raise_for_status().json())
