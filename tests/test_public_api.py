"""What the package exports, and that importing it costs next to nothing."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import exacto_plugin
from exacto_plugin import errors

NAMES = [
    "Exacto",
    "ExactoError",
    "ExactoRefusedError",
    "SettingsError",
    "StoreError",
    "UnknownNameError",
    "__version__",
    "callback",
]


def test_the_exported_names_are_these() -> None:
    """A name more or less is a decision, so it is written down here too."""
    assert exacto_plugin.__all__ == NAMES
    assert sorted(NAMES) == NAMES


def test_nothing_else_is_public() -> None:
    """Whatever the package's own module defines or imports under a public name is exported."""
    tree = ast.parse(Path(exacto_plugin.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("exacto_plugin")
        for alias in node.names
    }
    assert imported < set(NAMES)
    found = {name for name in vars(exacto_plugin) if not name.startswith("_")}
    modules = {name for name in found if f"exacto_plugin.{name}" in sys.modules}
    assert found - modules - set(NAMES) == {"annotations", "TYPE_CHECKING", "Any"}


def test_every_error_is_exported_and_in_the_tree() -> None:
    """Errors that the package raises on purpose can be caught by name, and by their one base."""
    defined = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(defined) <= set(NAMES)
    assert all(issubclass(error, exacto_plugin.ExactoError) for error in defined.values())
    assert all(name in (errors.__doc__ or "") for name in defined)


def test_the_version_is_the_distributions() -> None:
    """There is one version."""
    assert exacto_plugin.__version__ == importlib.metadata.version("exacto-plugin")


def test_a_name_that_does_not_exist_says_so() -> None:
    """The lazy attribute does not swallow mistakes."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = exacto_plugin.nothing


def test_importing_loads_no_framework() -> None:
    """LiteLLM is imported with the callback and not before, so that tools and settings start fast."""
    code = "import sys, exacto_plugin; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"litellm", "fastapi", "starlette", "opentelemetry", "openai", "numpy", "pydantic"} & set(loaded)


def test_the_callback_is_made_once() -> None:
    """Whoever asks for it, by the package or by the proxy module, gets the same object; an SDK process attaches it to
    nothing."""
    code = (
        "import exacto_plugin\n"
        "from exacto_plugin.litellm_hooks.callback import ExactoCallback\n"
        "from exacto_plugin.litellm_hooks.proxy import proxy_callback\n"
        "assert exacto_plugin.callback is exacto_plugin.callback is proxy_callback()\n"
        "assert type(exacto_plugin.callback) is ExactoCallback\n"
        "import sys\n"
        "assert 'litellm.proxy.proxy_server' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
