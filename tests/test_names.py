"""Names: unique classes, no retired words, docstrings of one short sentence, files and functions that fit a screen."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.support.source_tree import PACKAGE, ROOT, definitions, identifiers, modules

MOST_FILES = 17
MOST_LINES = 350
MOST_LINES_OF_A_FUNCTION = 40
RETIRED = frozenset({
    "acquit", "beat", "board", "bystander", "bystanders", "chore", "convicted", "conviction", "desk", "greet",
    "guilty", "hang", "holdings", "ledger", "limbo", "narrow", "outsider", "outsiders", "portion", "portions",
    "purse", "purses", "seam", "seams", "sheet", "sift", "slab", "spared", "staying", "surprise", "tiles",
    "untold", "upkeep", "walk", "walks", "whom", "wishes",
})  # fmt: skip
"""Words that once named things and no longer do; docs/glossary.md has the words in use."""

OTHER_MEANING = {
    # A random walk, the provider's behaviour that never answers, and a column of the leader's lease.
    "simulate.scenario": {"PriceWalk"},
    "demo.behaviour": {"HANG"},
    "store.exchange": {"beat"},
}
"""Identifiers in which a retired word has another meaning or is stored, by module; none may be added."""


def test_class_names_are_unique() -> None:
    """A class name stands for one concept in the whole package."""
    names = Counter(
        one.node.name for name in modules() for one in definitions(name) if isinstance(one.node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_no_folder_is_a_drawer() -> None:
    """At most 17 modules in a folder, `__init__.py` not counted."""
    folders = Counter(path.parent for path in modules().values() if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > MOST_FILES} == {}


def test_files_are_short() -> None:
    """At most 350 lines."""
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name.removeprefix(f"{PACKAGE}.") for name, count in lines.items() if count > MOST_LINES} == set()


def test_functions_are_short() -> None:
    """At most 40 lines, docstring included."""
    long = {
        f"{one.module.removeprefix(f'{PACKAGE}.')}:{one.name}"
        for name in modules()
        for one in definitions(name)
        if not isinstance(one.node, ast.ClassDef)
        and (one.node.end_lineno or 0) - one.node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert long == set()


@pytest.mark.parametrize("name", modules())
def test_retired_words_stay_away(name: str) -> None:
    """No identifier contains a word that the glossary replaced."""
    retired = {one for one in identifiers(name) if set(_words(one)) & RETIRED}
    assert retired == OTHER_MEANING.get(name.removeprefix(f"{PACKAGE}."), set())


def _words(identifier: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def test_docstrings_begin_with_the_subject() -> None:
    """The first line of a docstring has at most 80 characters and does not begin with who, what or whether."""
    docstrings = {
        f"{one.module}:{one.name}": ast.get_docstring(one.node) or "" for name in modules() for one in definitions(name)
    }
    docstrings |= {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in modules().items()}
    first = {place: text.partition("\n")[0] for place, text in docstrings.items()}
    assert {place: line for place, line in first.items() if len(line) > 80} == {}
    begins = re.compile(r"(who|what|whom|whose|whoever|whatever|whether|nobody)\b", re.IGNORECASE)
    assert {place: line for place, line in first.items() if begins.match(line)} == {}
