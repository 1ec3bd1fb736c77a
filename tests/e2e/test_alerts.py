"""Alerts that reach real receivers: each event once, from two workers and over a restart."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.proxy.alert_receiver import AlertReceiver, MailServer
from tests.support.proxy.observation import eventually, from_every_worker
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.tier_setup import BAD, GOOD, QUICK, bring_about, expected_tiers, names, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders

GROUP = "kimi"
BASE_URL = "https://gateway.example/llm"
HOOK, SLACK = "/hook", "/slack"
SECRET = "sk-upstream"


class Place(NamedTuple):
    """A proxy's directory and configuration, and the receivers of its alerts."""

    directory: Path
    config: dict[str, Any]
    hooks: AlertReceiver
    mails: MailServer

    def start(self, workers: int) -> Proxy:
        """The proxy; begun again in the same directory it is the same installation."""
        environment = {
            "WEBHOOK_URL": f"{self.hooks.base_url}{HOOK}",
            "SLACK_WEBHOOK_URL": f"{self.hooks.base_url}{SLACK}",
            "PROXY_BASE_URL": BASE_URL,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.mails.port),
            "SMTP_TLS": "False",
            "SMTP_SENDER_EMAIL": "gateway@example.com",
        }
        return Proxy(self.config, self.directory, workers=workers, environment=environment)

    def told(self) -> dict[tuple[str, str], int]:
        """How often the webhook got each kind of alert, with its deployment."""
        return Counter((one["event"], one["deployment"] or one["model_group"]) for one in self.hooks.bodies(HOOK))


@pytest.fixture(scope="module")
def place(provider_server: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A group whose curated list has the deployment that is going to be deranked."""
    provider_server.control.reset()
    entries = [deployment(provider_server, name, GROUP) for name in names(GROUP, *GOOD, "new", BAD)]
    config = {
        "model_list": entries,
        "litellm_settings": {"callbacks": [CALLBACK]},
        "general_settings": {"alerting": ["webhook", "slack", "email"]},
        "exacto_settings": {
            "tiers": QUICK,
            "curated": {GROUP: list(names(GROUP, "good-1", BAD))},
            "alerts": {"email": "operator@example.com"},
        },
    }
    with ExitStack() as stack:
        hooks, mails = stack.enter_context(AlertReceiver()), stack.enter_context(MailServer())
        yield Place(tmp_path_factory.mktemp("alerts"), config, hooks, mails)


def test_each_event_is_told_once(place: Place, provider_server: SimulatedProviders) -> None:
    """A derank reaches webhook, Slack and mail, its end the webhook; two workers and a restart add none."""
    bad = f"{GROUP}-{BAD}"
    derank, curated = ("exacto_derank", bad), ("exacto_curated_list", GROUP)
    place.hooks.fail_next(503)
    with place.start(workers=2) as proxy:
        assert len(from_every_worker(proxy, "status", 2)) == 2
        bring_about(proxy, provider_server, [GROUP])
        eventually(place.told, {derank: 1, curated: 1})
        eventually(lambda: sum("exacto_" in one["text"] for one in place.hooks.bodies(SLACK)), 2)
        eventually(lambda: len(place.mails.mails), 2)
        assert [one["faults"] for one in from_every_worker(proxy, "status", 2)] == [{}, {}]
    with place.start(workers=1) as proxy:
        eventually(lambda: seen_tiers(proxy, GROUP), expected_tiers(GROUP))
        override = {"deployment": bad, "word": "good", "for_s": 3600, "reason": "mended"}
        assert proxy.request("POST", "/exacto/api/overrides", json=override).status_code == 200
        eventually(place.told, {derank: 1, curated: 1, ("exacto_readmission", bad): 1})
    _check_webhook(place, bad)
    _check_others(place, bad)


def _check_webhook(place: Place, bad: str) -> None:
    found = {one["event"]: one for one in place.hooks.bodies(HOOK)}
    derank = found["exacto_derank"]
    assert derank["link"] == f"{BASE_URL}/exacto#deployment?group={GROUP}&name={bad}"
    assert derank["event_message"].startswith(f"{bad} is deranked in {GROUP} since ")
    assert "It comes back as soon as" in derank["event_message"]
    assert "mended" in found["exacto_readmission"]["event_message"]
    assert (derank["level"], derank["model_group"]) == ("Medium", GROUP)
    assert found["exacto_curated_list"]["level"] == "High"
    assert bad in found["exacto_curated_list"]["event_message"]
    assert SECRET not in str(found)


def _parsed(mail: str) -> EmailMessage:
    return Parser(EmailMessage, policy=default).parsestr(mail)


def _check_others(place: Place, bad: str) -> None:
    texts = [one["text"] for one in place.hooks.bodies(SLACK) if "exacto_" in one["text"]]
    named = Counter(text.split("`")[1] for text in texts)
    assert (named["exacto_curated_list"], named["exacto_derank"]) == (1, 1)
    mails = {one["Subject"]: one for one in map(_parsed, place.mails.mails)}
    assert set(mails) >= {"LiteLLM: exacto_curated_list", "LiteLLM: exacto_derank"}
    assert mails["LiteLLM: exacto_derank"]["To"] == "operator@example.com"
    (body,) = mails["LiteLLM: exacto_derank"].iter_parts()
    assert bad in body.get_content()
