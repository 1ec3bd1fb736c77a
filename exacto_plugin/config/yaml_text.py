"""Parses YAML with error messages that quote nothing of the text.

A configuration holds keys and passwords. Independent of the source of the text.
"""

from __future__ import annotations

import re

import yaml

from exacto_plugin.errors import SettingsError

_OF_THE_GRAMMAR = re.compile(r"""[^'"]*('(<[a-z -]+>|\\?.)'[^'"]*)*""")
"""Messages of PyYAML that quote only a kind of token or a single character.
Others quote names, tags or values."""

_CONTINUED = {
    "but found another document": "more than one document",
    "second occurrence": "an anchor that is defined twice",
}
"""Messages that PyYAML gives in two parts, the first of which may quote a name."""


class _Loader(yaml.SafeLoader):
    """A loader that records the position of the value under construction.

    The position is used for errors to which PyYAML gives none.
    """

    at: yaml.Mark | None = None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """Construct an object as the base class does, and record its position."""
        self.at = node.start_mark
        return super().construct_object(node, deep)


def parse_yaml(text: str, where: str) -> object:
    """Parse a YAML text.

    Args:
        text: one document.
        where: the name of the text in messages.

    Raises:
        SettingsError: it is not valid; the message has the kind of error, the line and the column.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        fault = f"a character that YAML does not allow, line {text.count(chr(10), 0, error.position) + 1}"
    else:
        try:
            return loader.get_single_data()
        except yaml.MarkedYAMLError as error:
            fault = _placed(_plain(error.problem or ""), error.problem_mark)
        except RecursionError:
            fault = "it is nested too deeply"
        except Exception:  # any error of PyYAML for a value, which most of them quote
            fault = _placed("a value that cannot be read", loader.at or loader.get_mark())
        finally:
            loader.dispose()
    # Raised outside the handler: a traceback with the original error would show the text.
    raise SettingsError(f"{where}: not valid YAML: {fault}")


def _plain(problem: str) -> str:
    """Return PyYAML's message up to a quotation of more than the grammar."""
    known = problem if _OF_THE_GRAMMAR.fullmatch(problem) else re.split("['\"]", problem)[0]
    return _CONTINUED.get(known, known.strip()) or "a syntax error"


def _placed(fault: str, mark: yaml.Mark | None) -> str:
    return fault if mark is None else f"{fault}, line {mark.line + 1}, column {mark.column + 1}"
