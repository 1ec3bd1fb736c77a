"""The package's own source, parsed: modules, their imports of every kind, and the names that they define."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import exacto_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = "exacto_plugin"
ROOT = Path(exacto_plugin.__file__).parent


class Import(NamedTuple):
    """One import of a module."""

    name: str
    at_start: bool
    """True when it happens as the importing module is loaded, not in a function and not for types only."""


class Definition(NamedTuple):
    """A class or function."""

    module: str
    name: str
    """With the classes and functions around it, separated by dots."""
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the package: dotted name -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    """A module's source, parsed."""
    return ast.parse(modules()[name].read_text())


@cache
def imports(name: str) -> frozenset[Import]:
    """Every import in a module; of the package's own modules those that exist under the imported name."""
    return frozenset(_imports(name, tree(name), at_start=True))


def _imports(name: str, node: ast.AST, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"{name}: imports are absolute"
            base = child.module or ""
            nested = {f"{base}.{alias.name}" for alias in child.names} & modules().keys()
            rest = [alias.name for alias in child.names if f"{base}.{alias.name}" not in modules()]
            yield from (Import(one, at_start) for one in (*nested, *((base,) if rest else ())))
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
            yield from _imports(name, child, at_start=at_start and not deferred)


def own_imports(name: str, *, at_start: bool = False) -> set[str]:
    """The package's own modules that a module imports, at start, later, or for types; or at start only."""
    return {found.name for found in imports(name) if found.name in modules() and found.at_start >= at_start} - {name}


def reached(name: str, *, at_start: bool = False) -> set[str]:
    """The package's own modules that a module imports, directly or not, for whatever purpose; or at start only."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        ours = own_imports(waiting.pop(), at_start=at_start)
        waiting += ours - seen
        seen |= ours
    return seen


def definitions(name: str) -> Iterator[Definition]:
    """The classes and functions of a module, nested ones included."""
    yield from _definitions(name, tree(name), "")


def _definitions(module: str, node: ast.AST, path: str) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        inner = path
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{path}.{child.name}".lstrip(".")
            yield Definition(module, inner, child)
        yield from _definitions(module, child, inner)


def identifiers(name: str) -> set[str]:
    """Every name that a module defines: classes, functions, parameters, variables, attributes that it assigns."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found
