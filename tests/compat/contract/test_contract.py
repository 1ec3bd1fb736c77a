"""The contract's names are the package's, and a wheel that lacks or changes one of them is found out."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from tests.compat.contract import absences
from tests.compat.contract.check import check_wheel
from tests.compat.contract.uses import Names, listed, used
from tests.compat.contract.wheel import Wheel

if TYPE_CHECKING:
    from pathlib import Path

ROUTER = """
from litellm.steps import *

class Router(Shared):
    limits: int = 1

    def __init__(self):
        self.names = {}

    def _pool(self, pool, request, more=None):
        mark_failed(pool)
        return pool

    def pick(self):
        return self._pool([], {})
"""
SHARED = "class Shared:\n    def listed(self): ...\n"
STEPS = "def mark_failed(pool): ...\n"
LOGGER = "class CustomLogger:\n    async def before(self, data, call_type): ...\n"
FILES = {
    "litellm/__init__.py": "_LAZY = ('Usage',)\n",
    "litellm/router.py": ROUTER,
    "litellm/router_shared.py": SHARED,
    "litellm/steps.py": STEPS,
    "litellm/utils.py": "async def ask(logger): await logger.before(data={}, call_type='')\n",
    "litellm/integrations/custom_logger.py": LOGGER,
    "litellm/proxy/proxy_server.py": "app = object()\n",
}
NAMES = Names(
    imported=(
        "litellm.Usage",
        "litellm.steps",
        "litellm.router.Router",
        "litellm.integrations.custom_logger.CustomLogger",
    ),
    router=("names", "limits", "listed"),
    server=("app",),
    patched={"_pool": ("self", "pool", "request")},
    failures=("mark_failed",),
    hooks={"before": ("self", "data", "call_type")},
)
CURRENT = Version("1.108.0")


def wheel(folder: Path, **changed: str) -> Wheel:
    """A wheel with these files; a changed one is named by its stem."""
    path = folder / "litellm-1.108.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, changed.get(name.rpartition("/")[2].removesuffix(".py"), content))
    return Wheel(path)


@pytest.fixture(autouse=True)
def nothing_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absences, "ABSENCES", {})


def test_the_list_is_what_the_package_uses() -> None:
    """After a change of the package: ``python -m tests.compat.contract.uses`` writes the list anew."""
    assert listed() == used()


def test_a_wheel_with_every_name_keeps_the_contract(tmp_path: Path) -> None:
    found = check_wheel(wheel(tmp_path), NAMES, CURRENT)
    assert found.broken == ()
    assert found.checked == 11


CHANGES = {
    "module": ({"steps": ""}, "litellm.router.mark_failed: missing"),
    "imported": ({"__init__": ""}, "litellm.Usage: missing"),
    "member": ({"router": ROUTER.replace("self.names", "self.others")}, "Router.names: missing"),
    "inherited": ({"router_shared": "class Shared: ...\n"}, "Router.listed: missing"),
    "server": ({"proxy_server": ""}, "litellm.proxy.proxy_server.app: missing"),
    "renamed": ({"router": ROUTER.replace("_pool(", "_filtered(")}, "Router._pool (patched): missing"),
    "unused": (
        {"router": ROUTER.replace("return self._pool", "return self._other")},
        "Router._pool (patched): missing",
    ),
    "order": ({"router": ROUTER.replace("pool, request", "request, pool")}, "takes (self, request, pool, more=None)"),
    "demand": ({"router": ROUTER.replace("more=None", "more")}, "demands more as well"),
    "uncalled": ({"router": ROUTER.replace("mark_failed(pool)", "...")}, "litellm.router.mark_failed: missing"),
    "hook": ({"custom_logger": "class CustomLogger: ...\n"}, "CustomLogger.before: missing"),
    "hook's parameter": ({"custom_logger": LOGGER.replace("data,", "data, key,")}, "is called with key as well"),
    "silent hook": ({"utils": ""}, "CustomLogger.before: is not called anywhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_litellm_is_found(change: str, tmp_path: Path) -> None:
    changed, fault = CHANGES[change]
    broken = check_wheel(wheel(tmp_path, **changed), NAMES, CURRENT).broken
    assert any(fault in one for one in broken), broken


def test_an_optional_parameter_more_is_no_change(tmp_path: Path) -> None:
    more = ROUTER.replace("more=None", "more=None, *, slot=None, **rest")
    assert check_wheel(wheel(tmp_path, router=more), NAMES, CURRENT).broken == ()


def test_the_core_behind_a_facade_is_what_counts(tmp_path: Path) -> None:
    """Since 1.109 ``Router`` has no methods of its own."""
    facade = "class Router: ...\n"
    core = ROUTER.replace("class Router(", "class PythonCore(")
    assert check_wheel(wheel(tmp_path, router=facade), NAMES, CURRENT).broken
    files = {**FILES, "litellm/router.py": facade, "litellm/router_python_core.py": core}
    path = tmp_path / "litellm-1.109.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    assert check_wheel(Wheel(path), NAMES, CURRENT).broken == ()


def test_a_known_absence_is_no_fault_but_an_untrue_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = absences.Absence("moved into Rust", since="1.108")
    monkeypatch.setattr(absences, "ABSENCES", {"Router.names": (gone,)})
    without = wheel(tmp_path, router=ROUTER.replace("self.names", "self.others"))
    assert check_wheel(without, NAMES, CURRENT).absent == ("Router.names",)
    assert check_wheel(without, NAMES, Version("1.107.9")).broken == ("Router.names: missing",)
    (stale,) = check_wheel(wheel(tmp_path), NAMES, Version("1.108.0rc1")).broken
    assert stale.startswith("Router.names: is there")
