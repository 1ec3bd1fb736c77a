"""The page's HTML, by Jinja2 with everything escaped.

Importing this module needs Jinja2.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from exacto_plugin.audit import answer_sentences, common_cause_sentences, formatting, request_sentences, sentences
from exacto_plugin.audit.formatting import money
from exacto_plugin.audit.incidents import findings, incident_paragraph, incident_sentences, incident_times
from exacto_plugin.audit.incidents.bad_shares import as_bad
from exacto_plugin.web import charts
from exacto_plugin.web.ranges import RANGES

if TYPE_CHECKING:
    from collections.abc import Mapping

_TITLES = {"why": "Why", "request": "Request"}


class Renderer:
    """The templates of the page."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("exacto_plugin.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "percent": _percent,
            "traffic": lambda share: "-" if share is None else formatting.traffic_share(share),
            "count": lambda number: "-" if number is None else f"{number:,.0f}",
            "money": lambda amount: "-" if amount is None else money(amount),
            "price": lambda amount: "?" if amount is None else f"${amount:,.4g}",
            "duration": formatting.duration,
            "at": _moment,
            "minute": formatting.minute,
            "tier": charts.tier_words,
            "json": lambda plain: json.dumps(plain, allow_nan=False, separators=(",", ":")),
            "number": _number,
            "bold": _bold,
        }
        self._templates.globals |= {
            "charts": charts,
            "findings": findings,
            "formatting": formatting,
            "incident_words": incident_sentences,
            "incident_times": incident_times,
            "incident_headline": incident_paragraph.headline,
            "incident_parts": incident_paragraph.incident_parts,
            "ranges": RANGES,
            "benchmark_words": answer_sentences,
            "why_sentence": lambda view: sentences.why_sentence(as_bad(view), UTC),
            "common_cause_words": lambda reason: common_cause_sentences.common_cause_sentence(reason, UTC),
            "request_sentence": lambda view: request_sentences.request_sentence(view, UTC),
            "observed_words": formatting.observed_words,
            "value_words": formatting.value,
            "run_name": formatting.run_name,
            "short_why": _short_why,
        }

    def shell(self, context: Mapping[str, Any]) -> str:
        """Return the page without data."""
        return self._templates.get_template("shell.html").render(context)

    def view(self, name: str, context: Mapping[str, Any]) -> str:
        """Return one view of the page."""
        return self._templates.get_template(f"{name}.html").render(context)

    def missing(self, view: str, reason: str) -> str:
        """Return a view of which there is nothing to show, with the reason."""
        context = {"title": _TITLES.get(view, view.capitalize()), "reason": reason, "inner": view == "why"}
        return self._templates.get_template("missing.html").render(context)


def _percent(share: float | None) -> str:
    return "-" if share is None else formatting.percent(round(share, 9))


def _moment(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _bold(part: incident_paragraph.Part) -> Markup:
    """Return the text of a part with the first one of each key phrase in bold."""
    text = escape(part.text)
    for phrase in part.key:
        text = Markup(text.replace(escape(phrase), Markup("<strong>{}</strong>").format(phrase), 1))
    return text


def _number(value: float | None, unit: str) -> str:
    """Format a number of a chart."""
    if value is None:
        return ""
    return formatting.percent(round(value, 9)) if unit == "percent" else f"{value:,.4g}"


def _short_why(deployment: Mapping[str, Any], group: Mapping[str, Any], now: float, preset: str) -> str:
    """Return the tier of a deployment and its reasons in sentences."""
    view = {
        **deployment,
        "model_group": group["model_group"],
        "at": now,
        "references": group["references"],
        "numbers_of_derank": preset == "adaptive",
        "reasons": [one for one in deployment["reasons"] if one["signal"] is not None],
    }
    return sentences.why_sentence(as_bad(view), UTC)
