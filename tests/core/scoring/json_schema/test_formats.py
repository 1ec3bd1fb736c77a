"""Formats blame a value only when every known reading blames it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.json_schema.formats import ALL
from tests.support.scoring_cases import ENGINES, judge

ACCEPTED = {
    "date": ["2024-02-29", "2000-02-29", "1999-12-31"],
    "time": ["12:00:00Z", "12:00:00", "23:59:60Z", "12:00:00.5+02:00", "12:00:00z"],
    "date-time": [
        "2024-01-01T00:00:00Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01t10:00:00.123+02:00",
        "2024-01-01T00:00:00+02",
    ],
    "duration": ["P1D", "PT1H30M", "P1Y2M3DT4H5M6S", "P2W", "PT0.5S"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"],
    "ipv4": ["127.0.0.1", "01.02.03.04", "255.255.255.255"],
    "ipv6": ["::1", "2001:db8::1", "::ffff:1.2.3.4"],
    "hostname": ["localhost", "example.com", "xn--bcher-kva.example"],
    "email": ["a@b.co", "joe.bloggs+tag@example.com", "user@localhost"],
    "uri": ["https://example.com/a?b=c#d", "mailto:a@b.c", "urn:isbn:1", "file:///a", "s3://bucket/key"],
    "uri-reference": ["/a/b", "a", "", "#x", "https://x.y"],
    "uri-template": ["/users/{id}", "http://x/{?q,lang}"],
    "json-pointer": ["", "/a/~0b/~1"],
    "relative-json-pointer": ["0#", "1/a"],
    "regex": ["^a$", "[0-9]+"],
    "iri": ["https://münchen.de", "anything"],
    "idn-email": ["ö@ö.de", "anything"],
    "idn-hostname": ["münchen.de", "anything at all"],
    "int32": ["anything"],
    "float": ["anything"],
}
REFUSED = {
    "date": [
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-1-1",
        "tomorrow",
        "2024-01-01T00:00:00Z",
        "\uff12024-01-01",
    ],
    "time": ["24:00:00Z", "12:60:00", "12:00", "9:00:00", "noon"],
    "date-time": ["2024-01-01", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z", "2024-01-01X00:00:00Z", "yesterday", ""],
    "duration": ["P", "PT", "1D", "P1", "P1S", "one day"],
    "uuid": ["123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g", "42"],
    "ipv4": ["256.0.0.1", "1.2.3", "1.2.3.4.5", "1.2.3.", "localhost", "1.2.3.4 "],
    "ipv6": ["12345::", "1::2::3", "fe80::1%eth0", "127.0.0.1"],
    "hostname": ["-a.com", "a_b.com", "a..b", "ä.de", "x" * 300],
    "email": ["a", "a@", "@b", "a b@c.de", ".a@b.c", "a..b@c.d"],
    "uri": ["example.com", "/a", "http://a b", "://x"],
    "uri-reference": ["a b", "\\\\host", "<x>"],
    "uri-template": ["{a", "a}", "<{a}>"],
    "json-pointer": ["a", "/~2"],
    "relative-json-pointer": ["01", "-1", "/a"],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_values(engine: str, name: str) -> None:
    """What any of the known readings accepts is valid, and so is whatever is not a string."""
    for value in (*ACCEPTED[name], 5, None, {"a": 1}):
        assert judge(engine, {"format": name}, {"x": value}).outcome == "valid"
        assert judge(engine, {"properties": {"x": {"format": name}}}, {"x": value}).outcome == "valid", value


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_values(engine: str, name: str) -> None:
    """What no reading accepts is a mismatch on both engines."""
    for value in REFUSED[name]:
        assert judge(engine, {"properties": {"x": {"format": name}}}, {"x": value}).outcome == "schema_mismatch", value


@pytest.mark.parametrize("name", sorted(ALL))
@given(st.text(alphabet="aAzZ019:.-+/@%{}[]~#TtPDHMSW \u00e4\ud83d\n", max_size=40))
def test_any_text_is_judged(name: str, text: str) -> None:
    """No text makes a check raise."""
    assert ALL[name](text) in (True, False)
