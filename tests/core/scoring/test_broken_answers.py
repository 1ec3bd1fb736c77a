"""The flaws that any answer may have: what is one, what excuses it, and what a stream may be held back for."""

from __future__ import annotations

import pytest

from exacto_plugin.core.model import Blame, Flaw
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.core.scoring.broken_answers import (
    AnswerContent,
    ContentExpectations,
    content_flaws,
    has_begun_well,
    is_broken_answer,
    with_content_flaws,
)
from exacto_plugin.core.scoring.corrupt_text import is_corrupt

ANY = ContentExpectations()
EMPTY_ALLOWED = ContentExpectations(may_be_empty=lambda: True)
QUOTA = "You exceeded your current quota, please check your plan and billing details."

DAMAGED = (
    "\ufffd\ufffd\ufffd \ufffd\ufffd",
    "Caf\ufffd\ufffd\ufffd is open.",
    "It will be sunny.<|im_end|>",
    "Paris</s></s>",
    "<|endoftext|>",
    "<pad><pad><pad><pad>",
    "<|im_start|>assistant\nParis",
    "<|channel|>final<|message|>Paris",
    "The\u0120capital\u0120of\u0120France\u0120is\u0120Paris",
    "\u2581The\u2581capital\u2581of\u2581France",
    "It<0xE2><0x80><0x99>s sunny",
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk"}\n\ndata: [DONE]',
    "Paris\n\ndata: [DONE]",
    "Paris \x00\x00\x00",
)
ERRORS = (
    QUOTA,
    "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
    "Error code: 429 - rate limit exceeded, please retry after 20 s",
    "The engine is currently overloaded, please try again later",
    '{"error":{"message":"Rate limit reached","type":"rate_limit_error","code":"rate_limit_exceeded"}}',
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr><center>nginx</center></body></html>",
    "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
)


def flaws(text: str = "", asked: ContentExpectations = ANY, **more: object) -> tuple[Flaw, ...]:
    """The flaws of an answer of one text."""
    return content_flaws(AnswerContent((text,) if text else (), **more), asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " \n", "\u200b\ufeff", "\x00"])
def test_an_answer_without_a_visible_character_is_empty(text: str) -> None:
    """Unless it has a call or another part, is a refusal, or was asked for so."""
    assert flaws(text) == (Flaw.EMPTY,)
    assert flaws(text, spoke=True) == flaws(text, others=True) == flaws(text, refused=True) == ()
    assert flaws(text, EMPTY_ALLOWED) == ()


@pytest.mark.parametrize("text", ["<think>I wonder", "<think>\nIt is\n</think>\n\n", "<thinking>Hm</thinking>"])
def test_reasoning_alone_is_no_answer(text: str) -> None:
    """Neither in its own part nor in the text."""
    assert flaws(text) == (Flaw.REASONING_ONLY,)
    assert flaws(reasoned=True) == (Flaw.REASONING_ONLY,)
    assert flaws("4", reasoned=True) == flaws("<think>2 + 2</think>4") == ()
    assert flaws(text, EMPTY_ALLOWED) == ()


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_text(text: str) -> None:
    """Found where it is, not found where the request has it or where it is quoted."""
    assert flaws(text) == (Flaw.CORRUPT,)
    assert flaws(text, ContentExpectations(last_message=lambda: f"Say: {text} (special token)")) == ()
    assert flaws(f"```\n{text}\n```") == ()
    assert flaws("word " * 20_000 + text) in ((Flaw.CORRUPT,), ())


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_in_the_place_of_the_text(text: str) -> None:
    """It is the whole text; a request about errors, or in another script, gets such texts from good models."""
    assert flaws(text) == (Flaw.PROVIDER_ERROR,)
    assert flaws(f"The message was: {text}") == ()
    assert flaws(text, ContentExpectations(last_message=lambda: "Draft an error message.")) == ()
    assert flaws(text, ContentExpectations(last_message=lambda: "\u7ffb\u8bd1")) == ()


@pytest.mark.parametrize("reason", ["error", "network_error", "abort", "insufficient_system_resource", "failed"])
def test_a_finish_reason_that_means_failure(reason: str) -> None:
    """It is the provider's error, with text or without."""
    assert flaws("", reasons=frozenset({reason, "stop"})) == (Flaw.PROVIDER_ERROR,)
    assert flaws("Paris is", reasons=frozenset({reason})) == (Flaw.PROVIDER_ERROR,)


def test_usage_is_a_flaw_of_its_own() -> None:
    """A client can use the answer, so it is no broken one."""
    assert flaws("Paris", reports_usage=False) == (Flaw.NO_USAGE,)
    assert flaws(error=True, reports_usage=False) == (Flaw.PROVIDER_ERROR,)
    assert not is_broken_answer(with_content_flaws(Attribution(), (Flaw.NO_USAGE,)))
    assert is_broken_answer(with_content_flaws(Attribution(), (Flaw.NO_USAGE, Flaw.EMPTY)))


@pytest.mark.parametrize("blame", [Blame.CALLER, Blame.LIMIT, Blame.CLIENT])
def test_another_party_excuses_the_provider(blame: Blame) -> None:
    """Nothing is added to an answer that the caller, a limit or the client spoiled."""
    known = Attribution((Flaw.CONTRADICTORY_CHOICE,), blame)
    assert with_content_flaws(known, (Flaw.EMPTY,)) == known


def test_a_lost_call_explains_an_answer_without_text() -> None:
    """An ignored choice does not: an empty answer is one for another reason."""
    for flaw in (Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP):
        known = Attribution((flaw,), Blame.PROVIDER)
        assert with_content_flaws(known, (Flaw.EMPTY,)) == known
    ignored = Attribution((Flaw.IGNORED_CHOICE,), Blame.PROVIDER)
    both = with_content_flaws(ignored, (Flaw.EMPTY,))
    assert both == Attribution((Flaw.IGNORED_CHOICE, Flaw.EMPTY), Blame.PROVIDER)


@pytest.mark.parametrize("text", [*DAMAGED, *ERRORS, "<think>Hm", "<think>Hm</think> \n", " "])
def test_the_beginning_of_a_broken_answer_is_held_back(text: str) -> None:
    """Of a text that is broken from its beginning no piece is sent."""
    late = ("Caf\ufffd", "It will", "Paris<", "The\u0120", "It<0x", "Paris\n", "Paris \x00")
    if not text.startswith(late):
        assert not any(has_begun_well(text[:end]) for end in range(1, len(text) + 1))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("4", 1),
        ("Paris", 3),
        ("\U0001f44d", 1),
        ("\u662f", 1),
        ("Your dog", 6),
        ("<svg>", 3),
        ("<think>a</think>4", 17),
    ],
)
def test_the_beginning_of_a_good_answer_is_sent(text: str, first: int) -> None:
    """As soon as it can be none of a broken one's."""
    assert [has_begun_well(text[:end]) for end in range(1, first + 1)] == [False] * (first - 1) + [True]


@pytest.mark.parametrize("text", ["{}", "Paris {} is in France", "{}\ud83d\ude00"])
def test_runs_of_control_characters_and_no_others_are_damage(text: str) -> None:
    for code in (*range(0x180), 0x4E00, 0xD800, 0xFEFF, 0x1F600):
        expected = code not in (0x09, 0x0A, 0x0B, 0x0C, 0x0D) and code < 0x1B
        assert is_corrupt(text.format(chr(code) * 3)) == expected, hex(code)
    assert is_corrupt(text.format("\x00\x00"))
    assert not is_corrupt(text.format("\x01\x02"))


def test_a_streams_own_events_inside_of_a_text_are_damage() -> None:
    assert is_corrupt('It is\ndata: {"id":"x"}\n')
    assert is_corrupt("event: message\ndata: [DONE]")
    assert not is_corrupt("The data: none.\nevent: party")
