"""Conversion of LiteLLM's deployment dictionaries to :class:`Candidate`.

The deployment key is ``model_info.id`` when the operator set one, else a fingerprint of provider, model and host, so
that the history survives the rotation of an API key. No key or credential is part of a name.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.filters import plain_provider
from exacto_plugin.core.routing.tier_ranking import KnownCandidates
from exacto_plugin.litellm_hooks.deployments.prices import prices_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.litellm_hooks.deployments.prices import TokenPrices

_GENERATED_ID = re.compile(r"[0-9a-f]{64}")
"""Form of a generated ``model_info.id``.

It is the SHA-256 of the deployment's parameters, API key included.
"""

_GENERIC_PROVIDERS = frozenset({"openai", "custom_openai", "openai_like", "hosted_vllm", "litellm_proxy", ""})
"""LiteLLM providers that name a protocol and not a company or server."""


def host_of(api_base: object) -> str:
    """Return ``host[:port]`` of an API base; empty without one."""
    parts = _split(api_base)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or ''}{f':{port}' if port else ''}"


def _split(api_base: object) -> SplitResult:
    """Split an API base; an invalid one has empty parts.

    Python's error is suppressed, as it would quote the API base.
    """
    try:
        return urlsplit(api_base if "//" in api_base else f"//{api_base}") if isinstance(api_base, str) else _NO_HOST
    except ValueError:
        return _NO_HOST


_NO_HOST = SplitResult("", "", "", "", "")


def provider_of(litellm_params: Mapping[str, Any], model_info: Mapping[str, Any]) -> str:
    """Return the provider of a deployment.

    ``model_info.provider``, else LiteLLM's provider, else the name in the API host.
    """
    named = model_info.get("provider")
    if isinstance(named, str) and named:
        return named
    custom = litellm_params.get("custom_llm_provider")
    model = str(litellm_params.get("model") or "")
    provider = custom if isinstance(custom, str) and custom else model.split("/", 1)[0] if "/" in model else ""
    host = host_of(litellm_params.get("api_base"))
    if not host or provider not in _GENERIC_PROVIDERS:
        return provider or "openai"
    return _owner_of_host(host)


def _owner_of_host(host: str) -> str:
    """Map ``api.deepinfra.com`` to ``deepinfra``.

    Addresses and bare names are kept, with their port.
    """
    labels = host.split(":", 1)[0].split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return host
    return labels[-2] if len(labels[-2]) > 3 or len(labels) == 2 else labels[-3]


def caches(prices: TokenPrices) -> bool:
    """Return whether prompt caching may make a return to the deployment cheaper.

    As in OpenRouter's sticky sessions, it does when reading the cache costs less than sending the prompt. True also
    when a price is unknown or the prompt is free.
    """
    return not prices.prompt or prices.cache_read is None or prices.cache_read < prices.prompt


def _declared(model_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment's declared properties; undeclared ones are unknown."""
    quantization, data_collection = model_info.get("quantization"), model_info.get("data_collection")
    parameters = model_info.get("supported_parameters")
    zdr = model_info.get("zdr") is True
    return {
        "quantization": quantization.strip().lower() if isinstance(quantization, str) else "",
        # Data that are not retained cannot be collected.
        "data_collection": "deny" if zdr else data_collection if data_collection in ("allow", "deny") else "",
        "zdr": zdr,
        "parameters": frozenset(map(str, parameters)) if isinstance(parameters, list | tuple) else None,
    }


def litellm_id(deployment: Mapping[str, Any]) -> str:
    """Return LiteLLM's id of a deployment, its ``model_info.id``; empty without one."""
    return str((deployment.get("model_info") or {}).get("id") or "")


def candidate_of(deployment: Mapping[str, Any], asked_model: str = "") -> Candidate:
    """Build the candidate of one deployment.

    The deployment is an entry of ``router.model_list`` or of a filter's healthy deployments.

    Args:
        deployment: LiteLLM's dictionary with ``litellm_params`` and ``model_info``.
        asked_model: the requested public model name; part of the key of a wildcard's deployment.
    """
    params: Mapping[str, Any] = deployment.get("litellm_params") or {}
    info: Mapping[str, Any] = deployment.get("model_info") or {}
    own_id = litellm_id(deployment)
    provider = provider_of(params, info)
    key = own_id
    if not own_id or _GENERATED_ID.fullmatch(own_id):
        key = generated_key(provider, str(params.get("model") or ""), host_of(params.get("api_base")))
    if "*" in str(deployment.get("model_name") or ""):
        key = f"{key}:{asked_model}"
    order = params.get("order")
    try:
        level = int(order) if order is not None else None
    except (TypeError, ValueError):
        level = None
    prices = prices_of(params, info)
    prompt, completion = prices.prompt, prices.completion
    price = None if prompt is None or completion is None else prompt + completion
    declared = _declared(info)
    return Candidate(
        LiteLLMId(own_id or key),
        DeploymentKey(key),
        provider,
        price,
        level,
        prompt,
        completion,
        caches=caches(prices),
        **declared,
    )


def generated_key(provider: str, model: str, host: str) -> str:
    """Return a short stable key for a deployment that the operator did not name.

    It contains no credential.
    """
    digest = hashlib.blake2b(f"{provider}\0{model}\0{host}".encode(), digest_size=5).hexdigest()
    return f"{plain_provider(provider).replace('/', '-').replace(':', '-')}-{digest}"


_FINGERPRINT_FIELDS = (
    "custom_llm_provider",
    "model",
    "api_version",
    "region_name",
    "aws_region_name",
    "vertex_location",
)
_FINGERPRINT_FIELDS_ANYWHERE = ("base_model", "quantization", "revision")
"""Parameters that identify the model and its server.

The second group may be in ``model_info`` as well.
"""


def model_fingerprint(deployment: Mapping[str, Any]) -> str:
    """Return a hash of model, API base, version, region and quantization.

    It identifies the model and server regardless of names. API keys, prices and limits are not part of it, nor are the
    API base's user, password and query, which may contain a key.
    """
    params: Mapping[str, Any] = deployment.get("litellm_params") or {}
    info: Mapping[str, Any] = deployment.get("model_info") or {}
    told = {name: params.get(name) for name in _FINGERPRINT_FIELDS}
    told |= {
        name: info.get(name) if params.get(name) is None else params[name] for name in _FINGERPRINT_FIELDS_ANYWHERE
    }
    base = params.get("api_base")
    told["api_base"] = f"{host_of(base)}{_path_of(base)}"
    # Sent with every request: for instance the upstreams that an aggregator may use.
    told["extra_body"] = params.get("extra_body")
    known = {name: value for name, value in told.items() if value}
    plain = json.dumps(known, sort_keys=True, default=lambda value: type(value).__name__)
    return hashlib.blake2b(plain.encode(), digest_size=8).hexdigest()


def _path_of(api_base: object) -> str:
    """Return the path of an API base.

    Some vendors serve every deployment under a path of its own.
    """
    return _split(api_base).path.rstrip("/")


class CandidateCache:
    """Cache of candidates by LiteLLM id.

    An entry is rebuilt when LiteLLM replaced what the deployment has. Since 1.110 LiteLLM makes new dictionaries of a
    deployment for every request, so what they hold is compared as well.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._known: dict[tuple[str, str], tuple[tuple[object, object, object], Candidate]] = {}
        self._lists = _KnownLists(limit)

    def get(self, deployment: Mapping[str, Any], asked_model: str) -> Candidate:
        """Return the candidate of ``deployment`` for a requested model name."""
        params = deployment.get("litellm_params")
        parts = (params, deployment.get("model_info"), deployment.get("model_name"))
        name = (litellm_id(deployment), asked_model)
        known = self._known.get(name)
        if known is not None and (known[0][0] is params or known[0] == parts):
            return known[1]
        candidate = candidate_of(deployment, asked_model)
        if name[0]:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[name] = (parts, candidate)
        return candidate

    def all(self, deployments: Sequence[Mapping[str, Any]], asked_model: str) -> KnownCandidates:
        """Return the candidates of some deployments; one object while they stay the same.

        They are the same while ``get`` would return the same candidates. Where LiteLLM passes its own dictionaries
        again, as up to 1.109, these tell it at once: 64 deployments take 14 us, and 38 us one by one.
        """
        try:
            ids = [one["model_info"]["id"] for one in deployments]
            own = [one["litellm_params"] for one in deployments]
            known = self._lists.of_dictionaries((asked_model, *ids, *map(id, own)))
        except (KeyError, TypeError):  # a deployment without these parts
            return KnownCandidates([self.get(one, asked_model) for one in deployments])
        if known is not None:
            return known
        found = self._lists.of_candidates([self.get(one, asked_model) for one in deployments])
        if all(self._keeps(one, params, asked_model) for one, params in zip(deployments, own, strict=True)):
            self._lists.note((asked_model, *ids, *map(id, own)), own, found)
        return found

    def _keeps(self, deployment: Mapping[str, Any], params: object, asked_model: str) -> bool:
        """Return whether a deployment is the dictionary of its candidate, and no copy."""
        known = self._known.get((litellm_id(deployment), asked_model))
        return known is not None and known[0][0] is params


class _KnownLists:
    """Lists of candidates, found again by the dictionaries or by the candidates.

    Whatever is looked up by its ``id()`` is kept here, so that no other object can have that id.

    Args:
        limit: largest number of deployments in all lists; beyond it all are dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._deployments = 0
        self._by_dictionaries: dict[tuple[object, ...], tuple[Sequence[object], KnownCandidates]] = {}
        self._by_candidates: dict[tuple[int, ...], KnownCandidates] = {}

    def of_dictionaries(self, marks: tuple[object, ...]) -> KnownCandidates | None:
        """Return the list that was noted under some marks."""
        known = self._by_dictionaries.get(marks)
        return None if known is None else known[1]

    def of_candidates(self, candidates: Sequence[Candidate]) -> KnownCandidates:
        """Return the list of exactly these objects."""
        marks = tuple(map(id, candidates))
        known = self._by_candidates.get(marks)
        if known is None:
            self._make_room(len(marks))
            known = self._by_candidates[marks] = KnownCandidates(candidates)
        return known

    def note(self, marks: tuple[object, ...], dictionaries: Sequence[object], candidates: KnownCandidates) -> None:
        """Find a list again by marks, which contain the ids of these dictionaries."""
        self._make_room(len(dictionaries))
        self._by_dictionaries[marks] = (dictionaries, candidates)

    def _make_room(self, deployments: int) -> None:
        if self._deployments + deployments > self._limit:
            self._by_dictionaries.clear()
            self._by_candidates.clear()
            self._deployments = 0
        self._deployments += deployments
