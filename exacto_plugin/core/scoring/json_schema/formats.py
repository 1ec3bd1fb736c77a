"""Checks of ``format`` that both engines share.

A value violates a format only if it does under every known reading: RFC 3339 and the two published versions of
@cfworker/json-schema differ about a space between date and time, a missing offset of ``time`` and leading zeros in
IPv4, so all of these pass here. The regular expressions are linear. Values that are not strings are never passed in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final

FormatCheck = Callable[[str], bool]

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?([zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)?")
_UUID = re.compile(r"(?:urn:uuid:)?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_DURATION = re.compile(
    r"P(?=[0-9T])(?:[0-9.,]+W|(?:[0-9.,]+Y)?(?:[0-9.,]+M)?(?:[0-9.,]+D)?"
    r"(?:T(?=[0-9])(?:[0-9.,]+H)?(?:[0-9.,]+M)?(?:[0-9.,]+S)?)?)"
)
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_URI_REFERENCE = re.compile(r"[^\s<>\\^`{|}\x00-\x20\x7f-\U0010ffff]*")
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_URI_TEMPLATE = re.compile(r"(?:[^\x00-\x20\"<>\\^`{|}]|\{[^{}\s]+\})*")
_JSON_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_JSON_POINTER = re.compile(r"(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)")

_LONGEST_DURATION = 80
_LONGEST_HOST = 253
"""RFC 1035, section 2.3.4, without the length octets."""


def is_date(text: str) -> bool:
    """Check an RFC 3339 ``full-date``."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    if not 1 <= month <= 12:
        return False
    leap_day = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS[month - 1] + leap_day


def is_time(text: str) -> bool:
    """Check an RFC 3339 ``full-time``; the offset may be missing."""
    match = _TIME.fullmatch(text)
    return match is not None and int(match[1]) < 24 and int(match[2]) < 60 and int(match[3]) <= 60


def is_date_time(text: str) -> bool:
    """Check an RFC 3339 ``date-time`` with "T" or a space; the offset is required."""
    return (
        len(text) > 10
        and (text[10] in "tT" or text[10].isspace())
        and is_date(text[:10])
        and is_time(text[11:])
        and (text[-1] in "zZ" or "+" in text[11:] or "-" in text[11:])
    )


def is_duration(text: str) -> bool:
    """Check an ISO 8601 duration as leniently as @cfworker/json-schema 4.1.1."""
    return len(text) < _LONGEST_DURATION and _DURATION.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Check an RFC 4122 UUID, with or without ``urn:uuid:``."""
    return _UUID.fullmatch(text) is not None


def is_ipv4(text: str) -> bool:
    """Check four decimal octets; leading zeros pass."""
    return _IPV4.fullmatch(text) is not None


def is_ipv6(text: str) -> bool:
    """Check the RFC 4291 text form, without a zone."""
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def is_hostname(text: str) -> bool:
    """Check dot-separated LDH labels; a final dot passes."""
    host = text.removesuffix(".")
    return len(host) <= _LONGEST_HOST and all(_HOST_LABEL.fullmatch(label) for label in host.split("."))


def is_email(text: str) -> bool:
    """Check ``mailbox@host``.

    Quoted mailboxes and address literals (RFC 5321) pass without a further check.
    """
    mailbox, at, host = text.rpartition("@")
    if not at or not mailbox or not host or host.endswith("."):
        return False
    if mailbox.startswith('"') or host.startswith("["):
        return True
    dots_in_place = not mailbox.startswith(".") and not mailbox.endswith(".") and ".." not in mailbox
    return dots_in_place and _MAILBOX.fullmatch(mailbox) is not None and is_hostname(host)


def is_uri(text: str) -> bool:
    """Check for a scheme and no character that RFC 3986 excludes."""
    return _URI_SCHEME.match(text) is not None and is_uri_reference(text)


def is_uri_reference(text: str) -> bool:
    """Check that no character is excluded by RFC 3986."""
    return _URI_REFERENCE.fullmatch(text) is not None


def is_uri_template(text: str) -> bool:
    """Check for literals and balanced, unnested ``{…}`` expressions."""
    return _URI_TEMPLATE.fullmatch(text) is not None


def is_json_pointer(text: str) -> bool:
    """Check an RFC 6901 JSON pointer."""
    return _JSON_POINTER.fullmatch(text) is not None


def is_relative_json_pointer(text: str) -> bool:
    """Check a relative JSON pointer of the Internet-Draft that draft 7 cites."""
    return _RELATIVE_JSON_POINTER.fullmatch(text) is not None


def accept(_text: str) -> bool:
    """Accept any text: for formats that @cfworker/json-schema does not check."""
    return True


OVERRIDES: Final[Mapping[str, FormatCheck]] = {
    "date-time": is_date_time,
    "time": is_time,
    "ipv4": is_ipv4,
    "uuid": is_uuid,
    "duration": is_duration,
    "iri": accept,
    "iri-reference": accept,
    "idn-email": accept,
    "idn-hostname": accept,
}
"""Checks that replace those of jsonschema-rs.
Its own are stricter than the published reading, or (uuid, duration) draft 7 has no such format."""

ALL: Final[Mapping[str, FormatCheck]] = {
    **OVERRIDES,
    "date": is_date,
    "ipv6": is_ipv6,
    "hostname": is_hostname,
    "email": is_email,
    "uri": is_uri,
    "uri-reference": is_uri_reference,
    "uri-template": is_uri_template,
    "json-pointer": is_json_pointer,
    "relative-json-pointer": is_relative_json_pointer,
}
"""All checks, for an engine that has none of its own.
``regex`` is missing: a caller's regular expression is never compiled here."""
