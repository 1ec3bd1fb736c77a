"""Detects text that a provider's decoder or server damaged.

Three kinds: bytes that were not decoded (replacement characters in runs, byte tokens such as ``<0xE2>``), tokens that
should have ended or begun the text (``<|im_end|>``, ``Ġ`` instead of spaces), and the stream's own markup inside of
the text (``data: {"id": ...``). A text that only shows such marks as code, in quotes or in a list is none of them, and
neither is one whose request has the mark itself. Scans both ends of a text, a few times each; stores no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.scoring.markdown_code import QuotedText
from exacto_plugin.core.text_beginnings import TextBeginnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_CHARS: Final = 32_768
"""Characters at each end of a text that are scanned."""

_REPLACEMENT: Final = "\ufffd"
_RUN: Final = re.compile("\ufffd{3,}")
_ANY_RUN: Final = re.compile("\ufffd+")
_LEAST: Final = 3
"""Replacement characters from which their share counts.
One broken emoji is two or three of them."""
_SHARE: Final = 0.05
"""Share of replacement characters among the visible ones."""

_BYTES: Final = re.compile(r"(?:<0x[0-9A-Fa-f]{2}>){2,}")
"""Byte tokens of SentencePiece that were not joined to characters."""

_STOP: Final = (
    r"<\|(?:im_end|endoftext|eot_id|eom_id|end_of_text|end|return|end_of_turn|endofprompt|user|observation)\|>"
    "|<\uff5cend\u2581of\u2581sentence\uff5c>|</s>|<eos>|<end_of_turn>|<pad>|<unk>|<\\|pad\\|>|\\[PAD\\]|\\[EOS\\]"
)
"""Tokens that end a turn in the templates of the open-weights models, or fill it up."""
_TRAILING: Final = re.compile(rf"(?<=[^\s\"'`(\[{{<])(?:{_STOP})(?:\s*(?:{_STOP}))*\s*\Z")
_ALONE: Final = re.compile(rf"\s*(?:(?:{_STOP})\s*)+\Z")
_REPEATED: Final = re.compile(rf"({_STOP})(?:\s*\1){{2,}}")
_BEGINNINGS: Final = ("<|im_start|>", "<|start_header_id|>", "<|begin_of_text|>", "<|start|>", "<start_of_turn>", "<s>")
"""Beginnings of turns: a text that has one as well shows a template."""
_HEADER: Final = re.compile(
    r"\s*(?:<\|im_start\|>assistant\b|<\|start_header_id\|>assistant\b|<\|assistant\|>|<start_of_turn>model\b"
    r"|<\|(?:start\|>assistant<\|)?channel\|>(?:analysis|final|commentary)\b)"
)
"""The header of the model's own turn, which a server takes off."""

_PIECES: Final = (re.compile("(?<=[^\\s\u0120\u010a])[\u0120\u010a](?=\\S)"), re.compile("(?<=\\S)\u2581(?=[^\\W_])"))
"""Spaces as vocabularies write them: of byte-level BPE, and of SentencePiece."""
_MARKUP: Final = re.compile("<\uff5c[^<>]{1,64}\uff5c>")

_EVENT: Final = re.compile(
    r"^(?:event: [a-z_.]{3,40}\n)?data: (?:\[DONE\]|\{\"(?:id|object|choices|type|error)\":)", re.MULTILINE
)
_CONTROL: Final = re.compile(r"\x00{2,}|[\x00-\x08\x0e-\x1a]{3,}")
_CONTROLS: Final = bytes((*range(0x09), *range(0x0E, 0x1B)))
_MARKS: Final = TextBeginnings((
    "<|", "<\uff5c", "</s>", "<eos>", "<pad>", "<unk>", "<0x", "<end_of_turn>", "<start_of_turn>", "[PAD]", "[EOS]",
    "data: ", "event: ", "\x00", "\u0120", "\u2581",
))  # fmt: skip
"""Beginnings of marks with which a text may begin."""
_HELD_CHARS: Final = 64
"""Characters from which a text is judged, and not its beginning only."""
_JUDGED_CHARS: Final = 1_024
_NAMED: Final = ("special token", "chat template", "chatml", "harmony format")
"""Words of a request that asks for marks without having them."""


def is_corrupt(text: str, asked: Callable[[], str] = str) -> bool:
    """Check for damage of the kinds above.

    Args:
        text: the answer's text, of any length.
        asked: returns the request's last message, read when the text has a mark; marks that it has, or asks for, are
            none of the provider's.

    >>> is_corrupt("Na \\ufffd\\ufffd\\ufffd\\ufffd"), is_corrupt("It is sunny.<|im_end|>"), is_corrupt("Sunny!")
    (True, True, False)
    """
    if len(text) > 2 * MOST_CHARS:
        text = f"{text[:MOST_CHARS]}\n{text[-MOST_CHARS:]}"
    quoted: QuotedText | None = None
    for start, stop in _marks(text):
        quoted = quoted or QuotedText(text)
        if not quoted.covers(start, stop) and not _is_asked_for(text[start:stop], asked()):
            return True
    return False


def may_be_corrupt(beginning: str) -> bool:
    """Check that a text begins with a mark, or with the beginning of one."""
    begun = beginning.lstrip()
    if len(begun) > _HELD_CHARS:
        return is_corrupt(begun[:_JUDGED_CHARS])
    return _REPLACEMENT in begun or _MARKS.may_begin(begun)


def _marks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of marks, as far as they are not part of a template shown."""
    if _REPLACEMENT in text:
        yield from _replacements(text)
    if "<" in text or "[" in text:
        yield from _tokens(text)
    if "\u0120" in text or "\u2581" in text:
        yield from _undecoded_spaces(text)
    if "data: " in text:
        yield from (found.span() for found in _EVENT.finditer(text))
    if _has_controls(text):
        yield from (found.span() for found in _CONTROL.finditer(text))


def _has_controls(text: str) -> bool:
    """Check for a character of ``_CONTROL``, 20 times as fast as that pattern."""
    data = text.encode(errors="surrogatepass")
    return len(data.translate(None, _CONTROLS)) < len(data)


def _replacements(text: str) -> Iterator[tuple[int, int]]:
    yield from (found.span() for found in _RUN.finditer(text))
    count, visible = text.count(_REPLACEMENT), sum(not one.isspace() for one in text)
    if count >= _LEAST and count >= _SHARE * visible:
        yield from (found.span() for found in _ANY_RUN.finditer(text))


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    yield from (found.span() for found in _BYTES.finditer(text))
    if found := _HEADER.match(text):
        yield found.span()
    elif not any(one in text for one in _BEGINNINGS):
        found = _ALONE.match(text) or _REPEATED.search(text) or _TRAILING.search(text, max(0, len(text) - 256))
        if found:
            yield found.span()


def _undecoded_spaces(text: str) -> Iterator[tuple[int, int]]:
    plain = _MARKUP.sub("", text)  # DeepSeek's own markup has such a character in its names
    spaces = plain.count(" ")
    for pattern in _PIECES:
        count = sum(1 for _ in pattern.finditer(plain))
        if count >= _LEAST and count > spaces and (found := pattern.search(text)):
            yield found.span()


def _is_asked_for(mark: str, asked: str) -> bool:
    if not asked:
        return False
    lowered = asked.lower()
    return mark.strip()[:12] in asked or mark.strip()[:1] == _REPLACEMENT in asked or any(w in lowered for w in _NAMED)
