"""A wheel of LiteLLM, read without installing it: modules, classes with their bases, and functions."""

from __future__ import annotations

import ast
import zipfile
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

_ROUTER_MODULES: Final = ("litellm/router.py", "litellm/router_")
"""Beginnings of the paths of the router's modules: also its facade (1.109) and the Rust core's Python side (1.110)."""
_ROUTERS: Final = ("Router", "PythonCore", "RustCore")
_LAZY: Final = "litellm/_lazy_imports"


class Wheel:
    """The Python source in one wheel.

    Args:
        path: of the wheel.
    """

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._paths = frozenset(self._archive.namelist())
        self._trees: dict[str, ast.Module] = {}
        self._contents: dict[str, bytes] = {}

    def requirements(self) -> list[str]:
        """The requirements in the wheel's metadata, as they are written there."""
        name = next(path for path in self._paths if path.endswith(".dist-info/METADATA"))
        lines = self._archive.read(name).decode().splitlines()
        return [line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Dist:")]

    def has(self, dotted: str) -> bool:
        """Whether a module, or a member of one, is there; members of members are not looked for."""
        parts = dotted.split(".")
        for size in range(len(parts), 0, -1):
            path = self._path(".".join(parts[:size]))
            if path is None:
                continue
            return size == len(parts) or parts[size] in self._names(path)
        return False

    def function(self, dotted: str) -> Function | None:
        """A function of a module."""
        module, _, name = dotted.rpartition(".")
        path = self._path(module)
        found = [] if path is None else self._tree(path).body
        return next((one for one in found if isinstance(one, Function) and one.name == name), None)

    def method(self, module: str, kind: str, name: str) -> Function | None:
        """A method of a class, not of its bases."""
        path = self._path(module)
        classes = [] if path is None else [one for one in self._tree(path).body if isinstance(one, ast.ClassDef)]
        return next((_method(one, name) for one in classes if one.name == kind), None)

    def mentions(self, name: str, except_in: str) -> bool:
        """Whether any file but one contains a name; compiled ones count too."""
        wanted = name.encode()
        return any(path != except_in and wanted in self._bytes(path) for path in self._called)

    # --- the router -------------------------------------------------------------------------------------------------

    @cached_property
    def core_path(self) -> str:
        """The module of the class whose methods serve requests, in Python."""
        behind = "litellm/router_python_core.py"
        return behind if behind in self._paths else "litellm/router.py"

    def core_method(self, name: str) -> Function | None:
        """A method of that class, or of its bases, if the class uses it too."""
        found = next((method for one in self._core if (method := _method(one, name)) is not None), None)
        return found if name in self._core_names or f"_core_{name}" in self._core_names else None

    def core_calls(self, name: str) -> bool:
        """Whether the router's module has a function and its class calls it."""
        return name in self._names(self.core_path) and name in self._core_names

    def router_has(self, name: str) -> bool:
        """Whether a router has a member: defined by one of its classes, or named in a text of its modules.

        The Rust core answers to names that it keeps in tables.
        """
        return name in self._router_names

    @cached_property
    def _core(self) -> list[ast.ClassDef]:
        kind = "Router" if self.core_path == "litellm/router.py" else "PythonCore"
        return self._with_bases(kind)

    @cached_property
    def _core_names(self) -> frozenset[str]:
        """Every name that the methods of the class itself use."""
        if not self._core:
            return frozenset()
        nodes = [node for method in self._core[0].body for node in ast.walk(method)]
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        return frozenset(attributes | {node.id for node in nodes if isinstance(node, ast.Name)})

    @cached_property
    def _router_names(self) -> frozenset[str]:
        classes = [one for kind in _ROUTERS for one in self._with_bases(kind)]
        defined = {name for one in classes for name in _defined(one)}
        texts = {text for path in self._router_paths for text in _texts(self._tree(path))}
        return frozenset(defined | texts)

    @cached_property
    def _router_paths(self) -> list[str]:
        unlike = ("litellm/router_utils/", "litellm/router_strategy/")
        found = [path for path in self._paths if path.startswith(_ROUTER_MODULES) and path.endswith(".py")]
        return sorted(path for path in found if not path.startswith(unlike))

    @cached_property
    def _router_classes(self) -> dict[str, list[ast.ClassDef]]:
        found: dict[str, list[ast.ClassDef]] = {}
        for path in self._router_paths:
            for node in ast.walk(self._tree(path)):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(node)
        return found

    def _with_bases(self, kind: str) -> list[ast.ClassDef]:
        """The classes of a name, and their bases within the router's modules."""
        found = list(self._router_classes.get(kind, ()))
        for one in found:
            for base in one.bases:
                found += [more for more in self._router_classes.get(ast.unparse(base), ()) if more not in found]
        return found

    # --- files ------------------------------------------------------------------------------------------------------

    @cached_property
    def _called(self) -> list[str]:
        """Files that may call a hook, those of the outer folders first."""
        found = [path for path in self._paths if path.endswith((".py", ".so", ".pyd"))]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def _bytes(self, path: str) -> bytes:
        if path not in self._contents:
            self._contents[path] = self._archive.read(path)
        return self._contents[path]

    def _path(self, module: str) -> str | None:
        base = module.replace(".", "/")
        return next((path for path in (f"{base}.py", f"{base}/__init__.py") if path in self._paths), None)

    def _tree(self, path: str) -> ast.Module:
        if path not in self._trees:
            self._trees[path] = ast.parse(self._bytes(path))
        return self._trees[path]

    def _names(self, path: str) -> frozenset[str]:
        """The names of a module; of the package itself also those that are imported on demand."""
        found = set(_assigned(self._tree(path)))
        for star in [name[:-2] for name in found if name.endswith(".*")]:
            behind = self._path(star if star.startswith("litellm") else f"litellm.{star}")
            found |= self._names(behind) if behind not in (None, path) else set()
        if path == "litellm/__init__.py":
            lazy = [one for one in self._paths if one.startswith(_LAZY) and one.endswith(".py")]
            found |= {text for one in (path, *lazy) for text in _texts(self._tree(one))}
        return frozenset(found)


def _method(kind: ast.ClassDef, name: str) -> Function | None:
    """A method of a class, also one that is assigned under a second name or with a decorator called on it."""
    for one in kind.body:
        if isinstance(one, Function) and one.name == name:
            return one
        if isinstance(one, ast.Assign) and name in map(ast.unparse, one.targets):
            value = one.value.args[0] if isinstance(one.value, ast.Call) and one.value.args else one.value
            return _method(kind, value.id) if isinstance(value, ast.Name) else None
    return None


def _texts(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def _assigned(node: ast.AST) -> Iterator[str]:
    """Names that a module defines, imports included, wherever no function or class is around them.

    ``MODULE.*`` stands for all of another one's.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Import | ast.ImportFrom):
            module = getattr(child, "module", None)
            yield from (alias.asname or alias.name.partition(".")[0] for alias in child.names if alias.name != "*")
            yield from (f"{module}.*" for alias in child.names if alias.name == "*")
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        else:
            yield from _assigned(child)


def _defined(kind: ast.ClassDef) -> Iterator[str]:
    """Members of a class: in its body, or set on ``self`` by a method."""
    yield from _assigned(kind)
    for node in ast.walk(kind):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
