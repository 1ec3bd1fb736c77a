"""Names of deployments: short to read, forgiving to type."""

from __future__ import annotations

import pytest

from exacto_plugin.audit.names import KnownDeployment, display_names, resolve_deployments
from exacto_plugin.errors import UnknownNameError

ONE, TWO, OWN = "novita-69ddc083d1", "novita-0123456789", "own"
KNOWN = [
    KnownDeployment("kimi", ONE, "novita"),
    KnownDeployment("kimi", OWN, "vllm"),
    KnownDeployment("glm", TWO, "novita/turbo"),
]


def test_a_hash_is_shown_where_it_tells_something() -> None:
    """Of two deployments of one provider; of a wildcard's deployment the model stays."""
    assert display_names([ONE, OWN]) == {ONE: "novita", OWN: "own"}
    assert display_names([ONE, TWO, OWN]) == {ONE: ONE, TWO: TWO, OWN: "own"}
    assert display_names([f"{ONE}:m/x"]) == {f"{ONE}:m/x": "novita:m/x"}
    assert display_names(["kimi-2025"]) == {"kimi-2025": "kimi-2025"}


@pytest.mark.parametrize(
    ("name", "group", "keys"),
    [
        (ONE, None, [ONE]),
        ("novita", None, [ONE, TWO]),
        ("novita", "kimi", [ONE]),
        ("novita/turbo", None, [TWO]),
        ("vllm", None, [OWN]),
        ("own", "kimi", [OWN]),
    ],
)
def test_what_a_name_means(name: str, group: str | None, keys: list[str]) -> None:
    """The key, the key without its hash, or the provider."""
    assert resolve_deployments(name, KNOWN, group) == keys


@pytest.mark.parametrize(
    ("name", "group", "told"),
    [
        ("novitta", None, "there is no deployment 'novitta' (did you mean novita?)"),
        ("xyz", "kimi", "there is no deployment 'xyz' in kimi; there are novita, own"),
        ("own", "kimmi", "there is no model group 'kimmi' (did you mean kimi?)"),
    ],
)
def test_a_name_that_is_none(name: str, group: str | None, told: str) -> None:
    """The nearest one is suggested, else all are listed."""
    with pytest.raises(UnknownNameError) as error:
        resolve_deployments(name, KNOWN, group)
    assert str(error.value) == told


def test_nothing_is_known() -> None:
    """The remedy is another one."""
    with pytest.raises(UnknownNameError, match="exacto doctor"):
        resolve_deployments("novita", [])
