"""``docs/compatibility.md``, from what all versions came to. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.version import Version

from tests.compat.contract.absences import absent_on
from tests.compat.judging import Status
from tests.compat.versions import LISTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.compat.cells import Cell
    from tests.compat.contract.check import Contract

_CHANNELS: Final = ("proxy", "async", "sync")
_HEAD: Final = """# Compatibility with LiteLLM

Written by `make compat` on {day}; not edited by hand. Every version has an environment of its own. The smoke asks a
real proxy over HTTP (`proxy`) and a `litellm.Router` in a program (`async`, `sync`), 20 times a row; a row about
routing or rescue also has a control with the feature switched off, which must come out wrong.

* **ok**: right in all 20 requests, or in as many as the row demands where chance has a part.
* **off**: the plugin says itself, in `/exacto/api/status`, that a feature of the row is off with this LiteLLM, and why.
* **WRONG**: neither. **lucky**: the control is right as well. **-**: not tried.
"""

_WITH_DATABASE: Final = """## With LiteLLM's database

`python -m tests.compat.database --version ...`: LiteLLM's proxy with its own keys, teams, budgets and models in a real
PostgreSQL, one worker. Prisma's query engine is a program that its tools download from a server outside the package
registries; what runs here is the same engine of the same commit as WebAssembly (npm: `@prisma/query-engine-wasm`),
served over HTTP by `tests/compat/database/engine.mjs`. The tables come from the migrations in `litellm-proxy-extras`.
"""


def page(
    cells: Sequence[Cell],
    contracts: Mapping[str, Contract | str],
    database: Mapping[str, Mapping[str, str]],
    untried: str,
    day: str,
) -> str:
    """The whole page.

    Args:
        cells: what was run.
        contracts: by version; a text is the reason why there is none.
        database: the rows with LiteLLM's database: version -> row -> fault.
        untried: the section about what was not tried, in Markdown.
        day: the date.
    """
    parts = [_HEAD.format(day=day), _summary(cells, contracts), _rows(cells), _off(cells), _absent(contracts)]
    parts += [_database(database), untried]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)


def _summary(cells: Sequence[Cell], contracts: Mapping[str, Contract | str]) -> str:
    head = [
        "LiteLLM",
        "Python",
        "names found in the wheel",
        "`pip install` changes",
        *_CHANNELS,
        "own tests",
        "installed by",
    ]
    lines = [_line(cell, contracts.get(cell.version)) for cell in cells]
    note = (
        "The names are those of LiteLLM that the plugin uses, hooks and their parameters included; the ones that a"
        " version is known to lack are below: most are alternatives that only other versions have, so that fewer names"
        " found does not mean fewer features. `pip install` is a dry run into the environment before the plugin's own"
        " requirements are there. Own tests are those that only this release needs (tests marked `dry_run`); a dash: it"
        " needs none."
    )
    return f"## Versions\n\n{note}\n\n{_table(head, lines)}\n"


def _line(cell: Cell, contract: Contract | str | None) -> list[str]:
    found = "-" if contract is None else contract if isinstance(contract, str) else _found(contract)
    place = cell.environment
    changes = "-" if place is None else ", ".join(place.changes) or "nothing"
    version = cell.version if cell.version in LISTED else f"{cell.version} (only watched)"
    return [
        version,
        cell.python,
        found,
        changes,
        *(_counts(cell, one) for one in _CHANNELS),
        cell.tests or "-",
        place.way if place else "-",
    ]


def _found(contract: Contract) -> str:
    missing = len(contract.absent) + len(contract.broken)
    told = f"{contract.checked - missing} of {contract.checked}"
    return f"{told}, **{len(contract.broken)} not as expected**" if contract.broken else told


def _counts(cell: Cell, channel: str) -> str:
    names = [row["name"] for row in cell.rows if row["name"].startswith(f"{channel}/")]
    told = [cell.status(name) for name in names]
    if not told:
        return "-"
    others = {status: told.count(status) for status in sorted({*told} - {Status.OK.value})}
    return ", ".join([f"{told.count(Status.OK)} ok", *(f"{count} {status}" for status, count in others.items())])


def _rows(cells: Sequence[Cell]) -> str:
    """One line for each row on each channel, one column for each version with the first Python it was run with."""
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.version, cell)
    names = list(dict.fromkeys(row["name"] for cell in cells for row in cell.rows))
    lines = [[name, *(cell.status(name) or "-" for cell in first.values())] for name in names]
    return f"## Rows\n\n{_table(['row', *first], lines)}\n" if names else ""


def _off(cells: Sequence[Cell]) -> str:
    told: dict[str, list[str]] = {}
    for cell in cells:
        for where, features in cell.features.items():
            for name, one in features.items():
                if one.get("on") is False:
                    line = f"* `{name}`: {one.get('reason')}. Remedy: {one.get('remedy')}"
                    told.setdefault(line, []).append(f"{cell.version} ({where})")
    lines = [f"{line} *({', '.join(dict.fromkeys(where))})*" for line, where in told.items()]
    faults = [f"* LiteLLM {cell.version}, Python {cell.python}: {fault}" for cell in cells for fault in cell.faults]
    parts = ["## Off, and why\n", *(lines or ["Nothing: every feature is on with every version above."])]
    return "\n".join([*parts, *(["\n## Faults\n", *faults] if faults else [])]) + "\n"


def _database(rows: Mapping[str, Mapping[str, str]]) -> str:
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    lines = [[name.replace("_", " "), *("-" if name not in one else _of_database(one[name])
                                         for one in rows.values())] for name in names]  # fmt: skip
    faults = [f"* {version}, {name}: {fault}" for version, one in rows.items() for name, fault in one.items()
              if _of_database(fault) == "**WRONG**"]  # fmt: skip
    table = _table(["row", *rows], lines) if rows else "Not tried."
    return "\n".join([_WITH_DATABASE, table, *(["", *faults] if faults else [])]) + "\n"


def _of_database(fault: str) -> str:
    return "ok" if not fault else "off" if fault.startswith("off: ") else "**WRONG**"


def _absent(contracts: Mapping[str, Contract | str]) -> str:
    told: dict[tuple[str, str], list[str]] = {}
    for version, contract in contracts.items():
        if not isinstance(contract, str):
            reasons = absent_on(Version(version))
            for name in contract.absent:
                told.setdefault((name, reasons[name]), []).append(version)
    lines = [[f"`{name}`", ", ".join(versions), reason] for (name, reason), versions in sorted(told.items())]
    broken = [
        f"* {version}: {fault}"
        for version, one in contracts.items()
        if not isinstance(one, str)
        for fault in one.broken
    ]
    parts = ["## Names that a version lacks\n", _table(["name", "LiteLLM", "reason"], lines)]
    return "\n".join([*parts, *(["\n### Not as expected\n", *broken] if broken else [])]) + "\n"
