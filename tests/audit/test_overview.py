"""The page's overview of a story on record: the way back of what is deranked, and the words on the others."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import minute
from exacto_plugin.audit.incidents.incident_views import incident_list
from exacto_plugin.core.model import Reason, ReasonCode
from exacto_plugin.store.store import Store
from exacto_plugin.web import page_data
from exacto_plugin.web.why_now import WhyNow
from tests.test_telemetry import NOW
from tests.web.test_api import GROUP, measured
from tests.web.test_page import ADMIN, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from sqlalchemy import Connection

    from tests.audit.conftest import Story


def test_the_overview_tells_the_way_back_and_the_others(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open incident's fresh calls, and whether another deployment is suspicious; a common cause has a link."""
    runtime = measured()
    cause = Reason(ReasonCode.COMMON_CAUSE, value=0.14, peers=3, begin=NOW - 600.0, end=NOW - 60.0)
    client = page_of(runtime, monkeypatch, ADMIN)
    snapshot = runtime.engine.snapshot
    groups = {name: replace(group, common_cause=cause) for name, group in snapshot.groups.items()}
    monkeypatch.setattr(type(runtime.engine), "snapshot", property(lambda _: replace(snapshot, groups=groups)))
    fresh = {"kind": "fresh_calls", "calls": 150, "bad_at_most": 1, "so_far": 41.0, "so_far_bad": 9.0}

    async def answers(*_: object) -> list[dict[str, Any]]:
        return [{"at": NOW, "way_back": [{**fresh, "next_trial_at": NOW + 7200.0}]}]

    monkeypatch.setattr(WhyNow, "answers", answers)

    async def read(_: object, query: Callable[[Connection], Any]) -> Any:
        return query(story.connection)

    monkeypatch.setattr(Store, "read", read)
    found = [{**one, "model_group": GROUP} for one in incident_list(story.connection, story.now)]
    monkeypatch.setattr(page_data, "incident_list", lambda *_, **__: found)
    shown = client.get("/exacto/page/overview?range=30d").text
    assert "It is not back yet: of 41 fresh calls 9 were bad; by the numbers of now, of 150 at most 1 may be." in shown
    assert f"begins <strong>at {minute(NOW + 7200.0)}</strong>. Nothing has to be done" in shown
    assert re.findall('<span class="title">(.*?):</span>', shown)[:4] == [
        "How bad",
        "Since when",
        "Traffic",
        "Way back",
    ]
    assert f"deployment of {GROUP} is suspicious" in shown or f"Suspicious in {GROUP}" in shown
    assert f'range=30d">{GROUP}</a> as a whole was worse.' in shown
    assert "was about 14 points higher from" in shown
