"""Shares of bad calls in the data of ``why``, for the page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.incidents.incident_sentences import bad_rate
from exacto_plugin.core.model import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

Plain = dict[str, Any]

_CALLS = Signal.TOOL_CALL_SUCCESS.value


def as_bad(view: Mapping[str, Any]) -> Plain:
    """Return the data of ``why`` with shares of bad calls, marked by ``is_bad``.

    Values, thresholds and references of tool-call success, and the condition of a way back that names its threshold.
    """
    reasons = [_flipped(one, "value", "threshold") for one in view["reasons"]]
    references = {
        name: _flipped({"signal": name, **one}, "median") if one is not None else None
        for name, one in view["references"].items()
    }
    found = {**view, "reasons": reasons, "references": references}
    if "way_back" in view:
        found["way_back"] = [_flipped(one, "above") for one in view["way_back"]]
    return found


def _flipped(one: Mapping[str, Any], *names: str) -> Plain:
    """Return a reason, reference or condition with shares of bad calls.

    >>> _flipped({"signal": "tool_call_success", "value": 0.987, "threshold": None}, "value", "threshold")
    {'signal': 'tool_call_success', 'value': 0.013, 'threshold': None, 'is_bad': True}
    """
    if one.get("signal") != _CALLS:
        return dict(one)
    shares = {name: bad_rate(one[name]) for name in names if one.get(name) is not None}
    return {**one, **shares, "is_bad": True}
