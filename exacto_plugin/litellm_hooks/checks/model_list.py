"""Checks of ``model_list``, and of the settings that name something in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.config.messages import kind_of, nearest, safe_value, step_of
from exacto_plugin.config.settings import BLOCK
from exacto_plugin.core.routing.filters import blocking_filters, matches, providers_of, unpriced
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of, model_fingerprint

if TYPE_CHECKING:
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Filter

Config = Mapping[str, object]

SET_PRICES: Final = "set input_cost_per_token and output_cost_per_token"
"""Remedy where LiteLLM does not know a price."""

_LISTED: Final = 8
"""Most names in a message."""

_ENTRY: Final[Mapping[str, tuple[type, str]]] = {
    "model_name": (str, "a text"),
    "litellm_params": (Mapping, "a mapping"),
    "model_info": (Mapping, "a mapping"),
}
"""The parts of an entry of ``model_list`` that are read here."""

_DECLARED: Final[Mapping[str, tuple[Callable[[Any], bool], str, Callable[[object], str]]]] = {
    "provider": (lambda value: isinstance(value, str), "a text", kind_of),
    "quantization": (lambda value: isinstance(value, str), "a text", kind_of),
    "data_collection": (lambda value: value in ("allow", "deny"), "one of allow, deny", safe_value),
    "zdr": (lambda value: isinstance(value, bool), "true or false", safe_value),
    "supported_parameters": (lambda value: isinstance(value, list), "a list", kind_of),
}
"""Properties that operators declare of a deployment.

For each: the check of its form, and the message for any other form."""


def entries_of(config: Config, problems: list[str] | None = None) -> list[Mapping[str, Any]]:
    """Return the readable entries of ``model_list``; others go to ``problems``."""
    listed = config.get("model_list")
    found = [] if problems is None else problems
    if not isinstance(listed, list):
        if listed is not None:
            found.append(f"model_list: got {kind_of(listed)}, expected a list")
        return []
    readable = []
    for at, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            found.append(f"model_list[{at}]: got {kind_of(entry)}, expected a mapping")
            continue
        wrong = [
            f"model_list[{at}].{name}: got {kind_of(entry.get(name))}, expected {words}"
            for name, (kind, words) in _ENTRY.items()
            if not isinstance(entry.get(name), kind) and not (name == "model_info" and entry.get(name) is None)
        ]
        if not wrong and not isinstance(entry["litellm_params"].get("model"), str):
            found.append(f"model_list[{at}].litellm_params.model: expected a text; LiteLLM does not start without it")
        found += wrong
        if not wrong:
            readable.append(entry)
    return readable


def candidates_of(config: Config) -> dict[str, list[Candidate]]:
    """Return the deployments of each model group."""
    by_group: dict[str, list[Candidate]] = {}
    for entry in entries_of(config):
        by_group.setdefault(entry["model_name"], []).append(candidate_of(entry, entry["model_name"]))
    return by_group


def models_of(config: Config, deployment: str) -> dict[str, str]:
    """Return model group -> the provider's id of a deployment's model, as configured."""
    return {
        entry["model_name"]: entry["litellm_params"]["model"]
        for entry in entries_of(config)
        if candidate_of(entry, entry["model_name"]).key == deployment
    }


def model_list_problems(config: Config, settings: Settings) -> list[str]:
    """Return what does not work as written, one line each."""
    problems: list[str] = []
    entries_of(config, problems)
    candidates = candidates_of(config)
    return [
        *problems,
        *_duplicate_ids(config),
        *naming_problems(settings, candidates),
        *_declared(config),
    ]


def naming_problems(settings: Settings, candidates: Mapping[str, Sequence[Candidate]]) -> list[str]:
    """Return the settings that fit to no model group or deployment, one line each.

    Args:
        settings: have names of model groups, deployments and providers.
        candidates: the deployments of each model group.
    """
    return [
        *_unknown_groups(settings, candidates),
        *_curated(settings, candidates),
        *_references(settings, candidates),
        *_filters(settings, candidates),
    ]


def configured_ids(config: Config) -> dict[str, list[tuple[int, Mapping[str, Any]]]]:
    """Return each ``model_info.id`` with the places and entries that have it."""
    listed = config.get("model_list")
    places: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for at, entry in enumerate(listed if isinstance(listed, list) else ()):
        info = entry.get("model_info") if isinstance(entry, Mapping) else None
        own = info.get("id") if isinstance(info, Mapping) else None
        if isinstance(own, str) and own and isinstance(entry.get("litellm_params"), Mapping):
            places.setdefault(own, []).append((at, entry))
    return places


def _duplicate_ids(config: Config) -> list[str]:
    """Return the ids that different deployments share, which mixes their answers."""
    problems = []
    for own, found in configured_ids(config).items():
        groups = [entry.get("model_name") for _, entry in found]
        # One deployment may stand in several model groups.
        if len({model_fingerprint(entry) for _, entry in found}) > 1 or len(set(groups)) < len(groups):
            where = " and ".join(f"model_list[{at}]" for at, _ in found)
            problems.append(f"{where}: the same model_info.id {own!r}; every deployment needs one of its own, or none")
    return problems


def _unknown_groups(settings: Settings, known: Collection[str]) -> list[str]:
    """Return the settings that name a model group that does not exist."""
    named = [("curated", name) for name in settings.curated]
    named += [("model_groups", name) for name in settings.model_groups]
    named += [("benchmarks.reference", name) for name in settings.benchmarks.reference]
    return [
        f"{BLOCK}.{key}{step_of(name)}: {_not_among(name, known)}" for key, name in named if not _serves(known, name)
    ]


def _serves(known: Collection[str], name: str) -> bool:
    return name in known or any("*" in one and fnmatchcase(name, one) for one in known)


def _not_among(name: str, known: Collection[str]) -> str:
    near = nearest(name, list(known))
    listed = f"; there are {', '.join([*known][:_LISTED])}" if known and not near else ""
    return f"no such model_name in model_list{near}{listed}"


def _curated(settings: Settings, candidates: Mapping[str, Sequence[Candidate]]) -> list[str]:
    problems = []
    for name, entries in settings.curated.items():
        where = f"{BLOCK}.curated{step_of(name)}"
        there = candidates.get(name, ())
        exist = ", ".join(providers_of(there))
        problems += [
            f"{where}[{at}]: matches no deployment; providers there: {exist}{_nearest(entry, there)}"
            for at, entry in enumerate(entries)
            if there and _matches_none(entry, there)
        ]
    return problems


def _references(settings: Settings, candidates: Mapping[str, Sequence[Candidate]]) -> list[str]:
    problems = []
    for name, deployment in settings.benchmarks.reference.items():
        there = [one.key for one in candidates.get(name, ())]
        if there and deployment not in there:
            problems.append(
                f"{BLOCK}.benchmarks.reference{step_of(name)}: no deployment of this model group"
                f"{nearest(deployment, there)}; there are {', '.join(there[:_LISTED])}"
            )
    return problems


def _matches_none(entry: str, there: Sequence[Candidate]) -> bool:
    return not any(matches(entry, candidate) for candidate in there)


def _nearest(entry: str, there: Sequence[Candidate]) -> str:
    """Suggest the provider or deployment that an entry means; empty without one."""
    return nearest(entry, [*providers_of(there), *(one.key for one in there)])


def _filters(settings: Settings, candidates: Mapping[str, Sequence[Candidate]]) -> list[str]:
    problems = []
    for name, there in candidates.items():
        found = blocking_filters(settings.filters_of(name), there)
        if found:
            together = " together with ".join(f"{one.name} ({one.source})" for one in found)
            unknown = ", ".join(one.key for one in unpriced(found, there))
            why = f"; the price of {unknown} is not known ({SET_PRICES})" if unknown else ""
            problems.append(
                f"{name}: no deployment is left by {together}, so every request is refused{why}{_meant(found, there)}"
            )
    return problems


def _meant(found: Sequence[Filter], there: Sequence[Candidate]) -> str:
    """Return how many entries of filters match no deployment, and the names meant."""
    values = (one.value for one in found if one.name in ("only", "curated", "order"))
    unmatched = [entry for value in values for entry in map(str, value) if _matches_none(entry, there)]
    meant = "".join(dict.fromkeys(_nearest(entry, there) for entry in unmatched))
    entries = "1 entry matches" if len(unmatched) == 1 else f"{len(unmatched)} entries match"
    return f"; {entries} no deployment{meant}; providers there: {', '.join(providers_of(there))}" if unmatched else ""


def _declared(config: Config) -> list[str]:
    """Return properties in an unknown form; they count as not declared."""
    problems = []
    for entry in entries_of(config):
        info = entry.get("model_info") or {}
        written = ((name, info[name], *form) for name, form in _DECLARED.items() if info.get(name) is not None)
        problems += [
            f"{entry['model_name']}: model_info.{name}: got {words(value)}, expected {expected}"
            for name, value, fits, expected, words in written
            if not fits(value)
        ]
    return problems
