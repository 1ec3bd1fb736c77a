"""The official JSON Schema Test Suite for draft 7, on both engines, before and after schemas are prepared."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema_rs
import pytest
import referencing
from referencing.jsonschema import DRAFT7

from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.json_schema.engine_python import PythonValidator, counting_validator
from exacto_plugin.core.scoring.json_schema.engine_rust import options
from exacto_plugin.core.scoring.json_schema.prepare import prepare
from exacto_plugin.core.scoring.limits import NotCompilableError
from tests.support.scoring_cases import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = Path(__file__).parents[3] / "data" / "json-schema-test-suite"
STEPS = 10**9

REMOTES = {
    f"http://localhost:1234/{path.relative_to(SUITE / 'remotes').as_posix()}": json.loads(path.read_bytes())
    for path in (SUITE / "remotes").rglob("*.json")
}


class Case(NamedTuple):
    """One test of the suite."""

    file: str
    group: str
    description: str
    schema: Any
    data: object
    valid: bool


def cases(folder: str) -> Iterator[Case]:
    """All tests of one folder, not of those below it."""
    for path in sorted((SUITE / "draft7" / folder).glob("*.json")):
        for group in json.loads(path.read_bytes()):
            for test in group["tests"]:
                yield Case(
                    path.stem, group["description"], test["description"], group["schema"], test["data"], test["valid"]
                )


def accepts_unprepared(engine: str, case: Case) -> bool:
    """The verdict of an engine with all its options on the schema as it is; only the suite's own files are at hand."""
    if engine == "jsonschema_rs":

        def look_up(uri: str) -> Any:
            return REMOTES[uri.partition("#")[0]]

        return jsonschema_rs.Draft7Validator(case.schema, **{**options(), "retriever": look_up}).is_valid(case.data)
    registry = referencing.Registry().with_resources((uri, DRAFT7.create_resource(it)) for uri, it in REMOTES.items())
    return PythonValidator(counting_validator(case.schema, registry), STEPS).is_valid(case.data)


def accepts_prepared(engine: str, case: Case) -> bool | None:
    """The verdict as calls get it; None when the schema is refused."""
    try:
        return make_engine(engine).compile(prepare(case.schema)).is_valid(case.data)
    except NotCompilableError:
        return None


def test_the_fast_engine_passes_every_required_test() -> None:
    """As it is configured here: linear expressions, lenient formats, and no retriever but for the suite's files."""
    required = list(cases("."))
    assert len(required) == 913
    assert [case for case in required if accepts_unprepared("jsonschema_rs", case) != case.valid] == []


def test_the_pure_engine_passes_every_required_test_but_two() -> None:
    """911 of 913: it never runs an expression of a caller, and two tests expect one to refuse something."""
    wrong = [case for case in cases(".") if accepts_unprepared("jsonschema", case) != case.valid]
    assert [(case.file, case.group, case.valid) for case in wrong] == [
        ("pattern", "pattern validation", False),
        ("propertyNames", "propertyNames validation with pattern", False),
    ]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("jsonschema_rs", {"right": 854, "refused": 59}),
        ("jsonschema", {"right": 813, "refused": 98, "lenient": 2}),
    ],
)
def test_what_is_not_refused_is_judged_right(engine: str, expected: dict[str, int]) -> None:
    """Refused are references to other documents, which nothing fetches, and by the pure engine what needs patterns."""
    found: Counter[str] = Counter()
    for case in cases("."):
        verdict = accepts_prepared(engine, case)
        if verdict is None:
            found["refused"] += 1
        elif verdict == case.valid:
            found["right"] += 1
        else:
            found["lenient" if verdict else "blames the innocent"] += 1
    assert found == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("folder", ["optional", "optional/format"])
def test_no_valid_data_of_the_optional_tests_is_refused(engine: str, folder: str) -> None:
    """Formats are read leniently on purpose, so that some invalid data passes; never the other way round."""
    optional = list(cases(folder))
    assert len(optional) == {"optional": 118, "optional/format": 434}[folder]
    assert [case for case in optional if case.valid and accepts_prepared(engine, case) is False] == []


def test_the_fast_engine_checks_most_invalid_formats() -> None:
    """Leniency has a measure: of the suite's invalid strings at most 60 pass."""
    passed = [case for case in cases("optional/format") if not case.valid and accepts_prepared("jsonschema_rs", case)]
    assert 0 < len(passed) <= 60
