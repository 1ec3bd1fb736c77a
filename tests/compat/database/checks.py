"""What must work with LiteLLM's database: one function a row, asked of a running proxy.

``kimi`` has the deployments ``cheap`` and ``dear``, of which LiteLLM's own choice is ``dear``; of ``broken`` the one
that LiteLLM chooses answers with bad calls only, and the other one rescues.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy

ASKS: Final = 10
_PATIENCE_S: Final = 40.0
"""LiteLLM writes what was spent, and reads what an administrator changed, in the background."""
_LIMIT: Final = {"exacto": {"only": ["nobody"]}}
_TINY: Final = 1e-7
"""USD, less than one answer costs."""
_ENOUGH: Final = 0.05
"""USD, more than all answers of a row cost."""


@dataclass(frozen=True)
class Database:
    """A proxy with a database, and the means to look behind it.

    Args:
        proxy: the proxy.
        providers: the simulated providers.
        url: of the database.
    """

    proxy: Proxy
    providers: SimulatedProviders
    url: str

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """What an administrator sends; its answer.

        Raises:
            RuntimeError: it is refused.
        """
        answer = self.proxy.request("POST", path, json=body)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def key(self, **body: Any) -> str:
        """A new virtual key."""
        return str(self.post("/key/generate", **body)["key"])

    def team(self, **body: Any) -> str:
        """A key of a new team."""
        return self.key(team_id=self.post("/team/new", **body)["team_id"])

    def chat(self, key: str, model: str, **more: Any) -> httpx.Response:
        """One request with tools."""
        body = {"model": model, "messages": MESSAGES, "tools": TOOLS, **more}
        return self.proxy.request("POST", "/v1/chat/completions", key, json=body)

    def answered(self, key: str, model: str) -> list[str]:
        """Who answered, or status and type of the refusal, of each of some requests."""
        return [_outcome(self.chat(key, model)) for _ in range(ASKS)]

    def spent(self, key: str) -> float:
        """What a key has spent, as LiteLLM's administration shows it."""
        return float(self.proxy.request("GET", "/key/info", params={"key": key}).json()["info"]["spend"])

    def logged(self, group: str) -> tuple[int, float]:
        """Number and sum of the entries of a model group in the log of what was spent."""
        query = 'SELECT count(*), coalesce(sum(spend), 0) FROM "LiteLLM_SpendLogs" WHERE model_group = %s'
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query, (group,)).fetchone()
        return (int(row[0]), float(row[1])) if row else (0, 0.0)


def _outcome(answer: httpx.Response) -> str:
    if answer.status_code == 200:
        return str(answer.headers.get("x-exacto-deployment", "nobody named"))
    return f"{answer.status_code} {answer.json().get('error', {}).get('type')}"


def _eventually(told: Callable[[], bool]) -> bool:
    ends = time.monotonic() + _PATIENCE_S
    while not (found := told()) and time.monotonic() < ends:
        time.sleep(0.5)
    return found


def _only(found: list[str], wanted: str) -> str:
    """Empty when all outcomes are the wanted one, else all of them."""
    return "" if {*found} == {wanted} else ", ".join(found)


# --- the rows: empty when right, else what came instead --------------------------------------------------------------


def sorts_for_a_key(here: Database) -> str:
    return _only(here.answered(here.key(models=["kimi"]), "kimi:floor"), "cheap")


def curated_list_for_a_key(here: Database) -> str:
    return _only(here.answered(here.key(models=["kimi"]), "kimi:exacto"), "cheap")


def models_of_a_key(here: Database) -> str:
    return _only(here.answered(here.key(models=["kimi"]), "broken:floor"), "403 key_model_access_denied")


def alias_of_a_key(here: Database) -> str:
    return _only(here.answered(here.key(models=["kimi"], aliases={"mine": "kimi"}), "mine:floor"), "cheap")


def limit_of_a_key(here: Database) -> str:
    """It holds for model groups and for a deployment that is called by its id."""
    key = here.key(metadata=_LIMIT)
    return _only(here.answered(key, "kimi") + here.answered(key, "dear"), "404 exacto_no_endpoints")


def sorts_for_a_team(here: Database) -> str:
    return _only(here.answered(here.team(models=["kimi"]), "kimi:floor"), "cheap")


def models_of_a_team(here: Database) -> str:
    return _only(here.answered(here.team(models=["kimi"]), "broken:floor"), "403 team_model_access_denied")


def limit_of_a_team(here: Database) -> str:
    return _only(here.answered(here.team(models=["kimi"], metadata=_LIMIT), "kimi"), "404 exacto_no_endpoints")


def model_in_the_database(here: Database) -> str:
    """Added while the proxy runs, it is routed and scored like one of the configuration; deleted, it is gone."""
    params = {"model": "openai/added", "api_base": f"{here.providers.base_url}/p/added/v1", "api_key": "sk-upstream"}
    here.post("/model/new", model_name="added", litellm_params=params, model_info={"id": "added-1"})
    key = here.key(models=["added"])
    if not _eventually(lambda: here.chat(key, "added").status_code == 200):
        return f"not there: {here.answered(key, 'added')}"
    if wrong := _only(here.answered(key, "added:floor"), "added-1"):
        return wrong
    if not _eventually(lambda: "added-1" in {name for name, count in _evidence(here).items() if count >= ASKS}):
        return f"not scored: {_evidence(here)}"
    here.post("/model/delete", id="added-1")
    return "" if _eventually(lambda: here.chat(key, "added").status_code >= 400) else "still there"


def _evidence(here: Database) -> Mapping[str, int]:
    groups = here.proxy.request("GET", "/exacto/api/models").json()["model_groups"]
    deployments = [one for group in groups for one in group["deployments"]]
    return {str(one["deployment"]): int(one["signals"]["tool_call_success"]["samples"]) for one in deployments}


def rescue_is_paid_for(here: Database) -> str:
    """Every attempt of a rescued request is logged once, and the key has spent their sum, no more and no less."""
    key = here.key(models=["broken"], max_budget=_ENOUGH)
    before = sum(_requests(here))
    whole = [_outcome(here.chat(key, "broken")) for _ in range(ASKS)]
    streamed = [str(here.chat(key, "broken", stream=True).status_code) for _ in range(ASKS)]
    if wrong := _only(whole, "rescuer") or _only(streamed, "200"):
        return wrong
    asked = sum(_requests(here)) - before
    if not _eventually(lambda: here.logged("broken")[0] == asked):
        return f"{asked} attempts, {here.logged('broken')[0]} logged"
    cost = here.logged("broken")[1]
    right = _eventually(lambda: abs(here.spent(key) - cost) < cost / 1e6)
    return "" if right and asked > 2 * ASKS else f"{asked} attempts of {cost}, spent {here.spent(key)}"


def _requests(here: Database) -> Iterator[int]:
    states = here.providers.control.states()
    yield from (states[name]["requests"] for name in ("breaker", "rescuer") if name in states)


def budget_of_a_key(here: Database) -> str:
    return _ends(here, here.key(models=["kimi"], max_budget=_TINY))


def budget_of_a_team(here: Database) -> str:
    return _ends(here, here.team(models=["kimi"], max_budget=_TINY))


def _ends(here: Database, key: str) -> str:
    """Empty when a budget admits one request and refuses later ones."""
    first = here.chat(key, "kimi:floor")
    if _outcome(first) != "cheap":
        return f"the first one: {_outcome(first)}"
    ended = _eventually(lambda: "budget_exceeded" in _outcome(here.chat(key, "kimi:floor")))
    return "" if ended else "it is not refused"


def reserved_budget_comes_back(here: Database) -> str:
    """LiteLLM reserves of a budget what a request may cost, and gives it back after refusals and rescues too."""
    key = here.key(models=["kimi", "broken"], max_budget=_ENOUGH)
    refused = [_outcome(here.chat(key, "kimi:exacto", provider={"only": ["nobody"]}, max_tokens=20_000))
               for _ in range(ASKS)]  # fmt: skip
    rescued = [_outcome(here.chat(key, "broken", max_tokens=10_000)) for _ in range(ASKS)]
    plain = [_outcome(here.chat(key, "kimi:floor", max_tokens=20_000)) for _ in range(ASKS)]
    return _only(refused, "404 exacto_no_endpoints") or _only(rescued, "rescuer") or _only(plain, "cheap")


def requests_per_minute(here: Database) -> str:
    """A rescue takes a second request of the limit; without one left the bad answer stays; then LiteLLM refuses."""
    key = here.key(models=["broken"], rpm_limit=3)
    found = [_outcome(here.chat(key, "broken")) for _ in range(5)]
    return "" if found[:2] == ["rescuer", "breaker"] and {one[:3] for one in found[2:]} == {"429"} else ", ".join(found)


ROWS: Final[Mapping[Callable[[Database], str], str]] = {
    sorts_for_a_key: "sorts",
    curated_list_for_a_key: "filters",
    models_of_a_key: "",
    alias_of_a_key: "sorts",
    limit_of_a_key: "filters",
    sorts_for_a_team: "sorts",
    models_of_a_team: "",
    limit_of_a_team: "filters",
    model_in_the_database: "scoring",
    rescue_is_paid_for: "rescue",
    budget_of_a_key: "sorts",
    budget_of_a_team: "sorts",
    reserved_budget_comes_back: "rescue",
    requests_per_minute: "rescue",
}
"""The rows, each with the feature of the plugin that it shows; empty for one of LiteLLM's that must not be lost."""
