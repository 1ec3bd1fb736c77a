"""Reads YAML and tells what is wrong with it, without a word of what it says: a configuration holds keys and passwords.

Must not know where a text comes from.
"""

from __future__ import annotations

import re

import yaml

from exacto_plugin.errors import SettingsError

_OF_THE_GRAMMAR = re.compile(r"""[^'"]*('(<[a-z -]+>|\\?.)'[^'"]*)*""")
"""A fault in PyYAML's words that quotes a kind of token or a single character; others quote names, tags or values."""

_CONTINUED = {
    "but found another document": "more than one document",
    "second occurrence": "an anchor that stands twice",
}
"""Faults that PyYAML tells in two pieces, the first of which may quote a name."""


class _Loader(yaml.SafeLoader):
    """Knows which value it is about to make, for faults that PyYAML gives no place."""

    at: yaml.Mark | None = None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """As the base class."""
        self.at = node.start_mark
        return super().construct_object(node, deep)


def parse_yaml(text: str, where: str) -> object:
    """What a YAML text says.

    Args:
        text: one document.
        where: how the text is called in messages.

    Raises:
        SettingsError: it is not valid; the message has the kind of fault, the line and the column.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        fault = f"a character that must not stand in YAML, line {text.count(chr(10), 0, error.position) + 1}"
    else:
        try:
            return loader.get_single_data()
        except yaml.MarkedYAMLError as error:
            fault = _placed(_plain(error.problem or ""), error.problem_mark)
        except RecursionError:
            fault = "it is nested too deeply"
        except Exception:  # whatever a value made PyYAML raise, mostly with the value in it
            fault = _placed("a value that cannot be read", loader.at or loader.get_mark())
        finally:
            loader.dispose()
    # Outside of what caught the error: a traceback that shows what an error came from would show the text.
    raise SettingsError(f"{where}: not valid YAML: {fault}")


def _plain(problem: str) -> str:
    """PyYAML's words up to where they quote more than the grammar."""
    told = problem if _OF_THE_GRAMMAR.fullmatch(problem) else re.split("['\"]", problem)[0]
    return _CONTINUED.get(told, told.strip()) or "something is wrong"


def _placed(fault: str, mark: yaml.Mark | None) -> str:
    return fault if mark is None else f"{fault}, line {mark.line + 1}, column {mark.column + 1}"
