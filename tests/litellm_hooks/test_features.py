"""Which features are off when LiteLLM lacks one of its private seams, and that nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.features import Feature, Features, Gap
from exacto_plugin.litellm_hooks.install import install_patches, uninstall_patches
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.support.private_seams import private_seams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.private_seams import PrivateSeam


@pytest.fixture
def installed() -> Iterator[Any]:
    """Joins a new callback to LiteLLM's seams, and takes it out again."""

    def install() -> Features:
        callback = ExactoCallback(Runtime(Settings()))
        install_patches(callback)
        return callback.runtime.context.features

    yield install
    uninstall_patches()


def test_all_features_are_on(installed: Any) -> None:
    """On the LiteLLM that the tests run with nothing is missing."""
    features = installed()
    assert features.off == {}
    assert features.missing == []
    assert features.line() == "all features on"
    assert features.view() == {one.value: {"on": True, "reason": None, "remedy": None} for one in Feature}


@pytest.mark.parametrize("seam", private_seams(), ids=lambda seam: seam.name)
def test_a_seam_costs_its_own_features_only(seam: PrivateSeam, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seam with another signature in turn: exactly its features are off, and the other seams are wrapped."""

    def changed(self: Any, something: Any, else_: Any) -> None: ...

    monkeypatch.setattr(seam.owner, seam.name, changed)
    features = installed()
    assert {one.value for one in features.off} == seam.features
    assert all(seam.name in reason for reason in features.off.values())
    assert not hasattr(getattr(seam.owner, seam.name), "exacto_wraps")
    others = [one for one in private_seams() if one.name not in {seam.name, *seam.together}]
    assert all(hasattr(getattr(other.owner, other.name), "exacto_wraps") for other in others)


def test_added_optional_parameters_are_no_change() -> None:
    """What need not be given changes no signature; what must be given, or comes earlier, does."""

    def known(self: Any, error: Any) -> None: ...

    def optional(
        self: Any, error: Any, first_chunk: Any = None, *more: Any, deep: bool = False, **rest: Any
    ) -> None: ...

    def required(self: Any, error: Any, first_chunk: Any) -> None: ...

    def earlier(self: Any, first_chunk: Any = None, error: Any = None) -> None: ...

    fits = [router_patches.fits(one, ["self", "error"]) for one in (known, optional, required, earlier, None)]
    assert fits == [True, True, False, False, False]


def test_what_is_off_is_told() -> None:
    """The line, the reasons and the log name the features; a gap without features is in the log only."""
    features = Features("9.9.9", "use 1.106")
    features.lose([Gap("Router.a", (Feature.TIERS, Feature.SORTS), "nothing is sorted"), Gap("b", (), "a detail")])
    assert features.line() == "OFF: tiers, sorts (reasons: /exacto/api/status)"
    reason = "LiteLLM 9.9.9 lacks Router.a: nothing is sorted"
    assert features.view()["tiers"] == {"on": False, "reason": reason, "remedy": "use 1.106"}
    assert features.view()["filters"] == {"on": True, "reason": None, "remedy": None}
    assert features.warnings() == [f"{reason}; off: tiers, sorts", "LiteLLM 9.9.9 lacks b: a detail"]
    assert (features.has(Feature.SORTS), features.has(Feature.SCORING)) == (False, True)


def test_litellms_own_functions_come_back() -> None:
    """After uninstalling, the router's methods are LiteLLM's own."""
    before = [getattr(one.owner, one.name) for one in private_seams()]
    install_patches(ExactoCallback(Runtime(Settings())))
    assert all(hasattr(getattr(one.owner, one.name), "exacto_wraps") for one in private_seams())
    uninstall_patches()
    assert [getattr(one.owner, one.name) for one in private_seams()] == before
