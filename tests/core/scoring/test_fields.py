"""Fields of mappings and objects are those that ``get`` and ``getattr`` return."""

from __future__ import annotations

from collections import UserDict
from types import SimpleNamespace
from typing import Any, NamedTuple

import litellm
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from exacto_plugin.core.scoring.fields import get_attribute, get_field


class Open(BaseModel):
    """Has declared fields, undeclared ones, a private one, a property, and a constant of its class."""

    model_config = ConfigDict(extra="allow")
    text: str = "said"
    removed: str | None = None
    _private: int = PrivateAttr(7)

    @property
    def computed(self) -> str:
        return self.text * 2


class Closed(BaseModel):
    text: str = "said"


class Slotted(NamedTuple):
    text: str = "said"


class Own:
    """Finds attributes in its own way."""

    def __getattr__(self, name: str) -> str:
        return f"own {name}"


class Guarded:
    text = "of the class"

    def __getattribute__(self, name: str) -> Any:
        return "guarded" if name == "other" else super().__getattribute__(name)


def _open() -> Open:
    made = Open.model_validate({"extra_field": 1})
    del made.removed
    made._private = 8
    return made


NAMES = ("text", "removed", "extra_field", "_private", "computed", "model_config", "other", "absent")
ITEMS = {
    "pydantic": _open(),
    "closed pydantic": Closed(),
    "named tuple": Slotted(),
    "own lookup": Own(),
    "guarded lookup": Guarded(),
    "namespace": SimpleNamespace(text="said", other=None),
    "nothing": None,
    "number": 3,
    "class": Guarded,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_attribute_is_the_one_that_getattr_returns(item: object, name: str) -> None:
    assert get_attribute(item, name) == getattr(item, name, None)
    assert get_field(item, name) == getattr(item, name, None)


def test_every_field_of_litellms_answers_is_the_one_that_getattr_returns() -> None:
    answer = litellm.mock_completion(model="openai/kimi", messages=[], mock_response="Sunny.")
    names = ("id", "choices", "usage", "output", "status", "error", "stop_reason", "_hidden_params", "content")
    assert [get_field(answer, name) for name in names] == [getattr(answer, name, None) for name in names]
    message = answer.choices[0].message
    parts = ("content", "tool_calls", "function_call", "refusal", "reasoning_content", "images", "thinking_blocks")
    assert [get_field(message, name) for name in parts] == [getattr(message, name, None) for name in parts]


def test_an_item_of_a_mapping_is_a_field_and_no_attribute() -> None:
    for item in ({"text": "said"}, UserDict({"text": "said"})):
        assert get_field(item, "text") == "said"
        assert get_field(item, "absent") is None
        assert get_attribute(item, "text") is None
