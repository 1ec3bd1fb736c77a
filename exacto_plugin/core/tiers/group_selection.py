"""Copies of a block's columns with some of its model groups."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

R = TypeVar("R")


def of_groups(of: R, groups: Sequence[int]) -> R:
    """Return a copy of a record of columns with some of its groups, in this order.

    Arrays and sequences have the groups as their first axis; records within records, and sequences of records, are
    copied alike. Anything else is shared.

    >>> from exacto_plugin.core.tiers.adaptive.history import Counts
    >>> of_groups(Counts(np.array([[1, 2], [3, 4], [5, 6]]), np.zeros((3, 2))), [2, 0]).calls.tolist()
    [[5, 6], [1, 2]]
    """
    return _of_groups(of, list(groups))  # type: ignore[no-any-return]


def _of_groups(of: Any, groups: list[int]) -> Any:
    if isinstance(of, np.ndarray):
        return of[groups]
    if is_dataclass(of) and not isinstance(of, type):
        return replace(of, **{field.name: _of_groups(getattr(of, field.name), groups) for field in fields(of)})
    if isinstance(of, tuple) and hasattr(of, "_fields"):
        return type(of)(*(_of_groups(one, groups) for one in of))
    if isinstance(of, tuple | list):
        return type(of)([_of_groups(one, groups) for one in of] if _holds_records(of) else [of[at] for at in groups])
    return of


def _holds_records(of: Sequence[Any]) -> bool:
    return any(is_dataclass(one) for one in of)
