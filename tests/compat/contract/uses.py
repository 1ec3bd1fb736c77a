"""The names of LiteLLM that the package uses, read from the package itself.

``python -m tests.compat.contract.uses`` writes them to ``names.json``.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litellm.integrations.custom_logger import CustomLogger

from tests.support.source_tree import modules, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILE: Final = Path(__file__).with_name("names.json")

_HOOKS_PACKAGE: Final = "exacto_plugin.litellm_hooks"
_DOTTED: Final = re.compile(r"litellm(\.\w+)+")
_KEYS: Final = frozenset({"litellm.client_requested_model"})
"""Texts of that form that are keys of a mapping, no names of LiteLLM."""
_ROUTERS: Final = ("router", "_router", "core", "owner")
"""Variables and attributes that hold LiteLLM's router. FastAPI has routers too; they are in ``web``, not read here."""
_SERVERS: Final = ("server", "proxy_server", "_server")
"""Variables that hold LiteLLM's module ``litellm.proxy.proxy_server``."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of LiteLLM, by the way in which they are used."""

    imported: tuple[str, ...]
    """Dotted names of modules and their members, imported or read as attributes of ``litellm``."""
    router: tuple[str, ...]
    """Members of a router that are read."""
    server: tuple[str, ...]
    """Members of ``litellm.proxy.proxy_server`` that are read."""
    patched: Mapping[str, tuple[str, ...]]
    """Functions that are wrapped, each with the parameters that the wrappers rely on."""
    failures: tuple[str, ...]
    """Functions of the router's module that are wrapped if they are there."""
    hooks: Mapping[str, tuple[str, ...]]
    """Methods of ``CustomLogger`` that are overridden, each with the parameters that the override takes."""


def listed() -> Names:
    """The names as the file lists them."""
    told = json.loads(FILE.read_text())
    plain = {name: tuple(told[name]) for name in ("imported", "router", "server", "failures")}
    mapped = {name: {one: tuple(found) for one, found in told[name].items()} for name in ("patched", "hooks")}
    return Names(**plain, **mapped)  # type: ignore[arg-type]


def used() -> Names:
    """The names as the package uses them."""
    every = [name for name in modules() if not name.startswith("exacto_plugin.demo")]
    hooks = [name for name in every if name.startswith(_HOOKS_PACKAGE)]
    patched, failures = _patched(hooks)
    return Names(
        imported=_sorted(found for name in every for found in _imported(name)),
        router=_sorted(found for name in hooks for found in _members(name, _ROUTERS)),
        server=_sorted(found for name in hooks for found in _members(name, _SERVERS)),
        patched=patched,
        failures=failures,
        hooks=_overridden(hooks),
    )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "litellm":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            if _DOTTED.fullmatch(chain):
                yield chain
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            yield from {node.value} - _KEYS


def _members(module: str, receivers: tuple[str, ...]) -> Iterator[str]:
    """Members that are read of a variable of these names, or of an attribute of ``self``."""
    source = tree(module)
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and _is_one(node.value, receivers):
            yield node.attr
    for function in [one for one in ast.walk(source) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]:
        for call in [one for one in ast.walk(function) if _reads_member(one, receivers)]:
            named = call.args[1]  # type: ignore[attr-defined]
            if isinstance(named, ast.Constant):
                yield str(named.value)
            elif isinstance(named, ast.Name):
                yield from _texts_in(module, function)


def _is_one(node: ast.AST, names: tuple[str, ...]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in names and isinstance(node.value, ast.Name) and node.value.id == "self"
    return isinstance(node, ast.Name) and node.id in names


def _reads_member(node: ast.AST, receivers: tuple[str, ...]) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 2):
        return False
    return node.func.id in ("getattr", "hasattr") and _is_one(node.args[0], receivers)


def _texts_in(module: str, function: ast.AST) -> Iterator[str]:
    """The texts of the tuples among a module's constants that a function names."""
    for node in ast.walk(function):
        found = getattr(import_module(module), node.id, None) if isinstance(node, ast.Name) else None
        if isinstance(found, tuple) and all(isinstance(one, str) for one in found):
            yield from found


def _patched(names: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The constants named ``PARAMETERS`` of the modules with patches, and the tuples of names beside them."""
    functions: dict[str, tuple[str, ...]] = {}
    failures: list[str] = []
    for module in map(import_module, names):
        constants = vars(module)
        tables = [constants[name] for name in ("PARAMETERS", "_PARAMETERS") if name in constants]
        if tables:
            functions |= {name: tuple(told) for table in tables for name, told in table.items()}
            failures += [one for found in constants.values() if _is_names(found) for one in found]
    return dict(sorted(functions.items())), _sorted(failures)


def _is_names(found: Any) -> bool:
    return isinstance(found, tuple) and bool(found) and all(isinstance(one, str) for one in found)


def _overridden(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The methods of LiteLLM's ``CustomLogger`` that classes of these modules replace."""
    found: dict[str, tuple[str, ...]] = {}
    for module in map(import_module, names):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, CustomLogger) and kind.__module__ == module.__name__:
                for name in vars(kind).keys() & {one for one in dir(CustomLogger) if not one.startswith("__")}:
                    given = inspect.signature(getattr(kind, name)).parameters.values()
                    found[name] = tuple(str(one).partition(":")[0].partition(" =")[0].strip() for one in given)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    FILE.write_text(json.dumps(asdict(used()), indent=1) + "\n")
