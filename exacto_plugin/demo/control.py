"""Client of the simulated providers' control: behaviours and recorded requests.

Behaviours can be changed while the providers run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from exacto_plugin.demo.behaviour import Behaviour


class ProviderControl:
    """A synchronous client, for use between the requests of tests or the demo.

    Args:
        base_url: ``http://127.0.0.1:PORT`` of the server.
    """

    def __init__(self, base_url: str) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=10.0, trust_env=False)

    def behave(self, provider: str, **fields: Any) -> None:
        """Change the given fields of a provider's behaviour; ``next`` sets its script.

        Raises:
            ValueError: the behaviour is malformed.
        """
        self._set("POST", provider, fields)

    def replace(self, provider: str, behaviour: Behaviour) -> None:
        """Replace a provider's behaviour as a whole."""
        self._set("PUT", provider, behaviour.model_dump(mode="json"))

    def state(self, provider: str) -> dict[str, Any]:
        """Return the behaviour, the number of requests, and the counts by act."""
        return self._json(self._client.get(f"/control/{provider}"))

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of every provider with requests or settings so far."""
        return self._json(self._client.get("/control"))

    def acts(self, provider: str) -> dict[str, int]:
        """Return the counts of a provider's answers so far, by act or status."""
        return dict(self.state(provider)["acts"])

    def requests(self, provider: str) -> int:
        """Return the number of requests to a provider so far."""
        return int(self.state(provider)["requests"])

    def seen(self, provider: str) -> list[dict[str, Any]]:
        """Return ``path``, ``headers`` and ``body`` of the latest requests, oldest first."""
        return list(self._client.get(f"/control/{provider}/seen").raise_for_status().json())

    def forget_seen(self, provider: str) -> None:
        """Delete the recorded requests; keep the counts."""
        self._client.delete(f"/control/{provider}/seen").raise_for_status()

    def reset(self, provider: str | None = None) -> None:
        """Reset one provider, or all of them, to the initial state."""
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
