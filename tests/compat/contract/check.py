"""One wheel compared with the names that the package uses."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.compat.contract.absences import absent_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.version import Version

    from tests.compat.contract.uses import Names
    from tests.compat.contract.wheel import Function, Wheel

OWNERS: Final = {
    "get_order_filtered_deployments": "litellm.utils",
    "_resolve_router_settings_model_group_alias": "litellm.proxy.auth.user_api_key_auth",
}
"""Modules of the patched functions that are no methods of the router."""

_SERVER: Final = "litellm.proxy.proxy_server"
_LOGGER: Final = "litellm/integrations/custom_logger.py"


@dataclass(frozen=True, slots=True)
class Contract:
    """What became of the names on one version."""

    checked: int
    absent: tuple[str, ...]
    """Missing, and known to be."""
    broken: tuple[str, ...]
    """Missing or of another form, and not known to be; or there, although said to be missing."""


def check_wheel(wheel: Wheel, names: Names, version: Version) -> Contract:
    """Look for every name in a wheel."""
    found = dict(_findings(wheel, names))
    known = {*absent_on(version)}
    missing = {name for name, fault in found.items() if fault}
    broken = [f"{name}: {found[name]}" for name in sorted(missing - known)]
    stale = [f"{name}: is there, although absences.py says it is not" for name in sorted((known - missing) & {*found})]
    return Contract(len(found), tuple(sorted(missing & known)), (*broken, *stale))


def _findings(wheel: Wheel, names: Names) -> Iterator[tuple[str, str]]:
    """Every name, with its fault or an empty text."""
    for name in names.imported:
        yield name, "" if wheel.has(name) else "missing"
    for name in names.server:
        yield f"{_SERVER}.{name}", "" if wheel.has(f"{_SERVER}.{name}") else "missing"
    for name in names.router:
        yield f"Router.{name}", "" if wheel.router_has(name) else "missing"
    for name in names.failures:
        yield f"litellm.router.{name}", "" if wheel.core_calls(name) else "missing, or not called by the router"
    for name, expected in names.patched.items():
        owner = OWNERS.get(name)
        function = wheel.core_method(name) if owner is None else wheel.function(f"{owner}.{name}")
        yield f"{owner or 'Router'}.{name} (patched)", _misfit(function, expected)
    for name, taken in names.hooks.items():
        yield f"CustomLogger.{name}", _hook_fault(wheel, name, taken)


def _misfit(function: Function | None, expected: Sequence[str]) -> str:
    """Why a function is not called as expected: the parameters in order, then only optional ones."""
    if function is None:
        return "missing, or not used by the router"
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    required = len(positional) - len(given.defaults)
    ordered = [(one.arg, number >= required) for number, one in enumerate(positional)]
    ordered += [(one.arg, True) for one in (given.vararg,) if one]
    ordered += [(one.arg, value is not None) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    ordered += [(one.arg, True) for one in (given.kwarg,) if one]
    if [name for name, _ in ordered[: len(expected)]] != list(expected):
        return f"takes ({ast.unparse(given)}), not ({', '.join(expected)})"
    demanded = [name for name, optional in ordered[len(expected) :] if not optional]
    return f"demands {', '.join(demanded)} as well" if demanded else ""


def _hook_fault(wheel: Wheel, name: str, taken: Sequence[str]) -> str:
    """Why LiteLLM's calls of a hook would not fit the override, or do not come."""
    hook = wheel.method("litellm.integrations.custom_logger", "CustomLogger", name)
    if hook is None:
        return "missing"
    if any(one.startswith("**") for one in taken) and any(one.startswith("*_") for one in taken):
        return ""
    given = [one.arg for one in (*hook.args.posonlyargs, *hook.args.args, *hook.args.kwonlyargs)]
    own = [one.lstrip("*") for one in taken]
    if not set(given) <= set(own) and not any(one.startswith("**") for one in taken):
        return f"is called with {', '.join(sorted(set(given) - set(own)))} as well"
    return "" if wheel.mentions(name, except_in=_LOGGER) else "is not called anywhere"
