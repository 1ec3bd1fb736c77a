"""Batches, publications and saved states as text, compatible between versions.

Neighbouring versions can read each other's text. Integers stay integers, names are written once. Additions of a newer
version are ignored by an older one: further fields, counters and cells. A change that older versions could not ignore
gets new keys in the exchange (``LAYOUT``), so that the two do not share data. Does no I/O.
"""

from __future__ import annotations

import binascii
import zlib
from array import array
from typing import TYPE_CHECKING, Any

import orjson

from exacto_plugin.core.codec import UnknownFormatError, snapshot_from_plain, snapshot_to_plain
from exacto_plugin.core.windows.counter_ring import MOST
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.protocol import Batch, Publication, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT = 1
"""Number of the layout of all shared data; part of every key."""

_FASTEST = 1
"""zlib's level: names repeat, so that a higher one saves little."""


def pack(plain: object) -> str:
    """Encode plain data as compact text.

    The text is ASCII, so clients that decode what they read do not change it.
    """
    return binascii.b2a_base64(zlib.compress(orjson.dumps(plain), _FASTEST), newline=False).decode()


def unpack(text: str | bytes) -> Any:
    """Decode the text of ``pack``.

    Raises:
        UnreadableError: it is something else.
    """
    try:
        return orjson.loads(zlib.decompress(binascii.a2b_base64(text)))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise UnreadableError("data in the exchange cannot be read") from error


def pack_batch(batch: Batch) -> str:
    """Encode a batch as text."""
    names: dict[str, int] = {}
    rows = [
        [
            names.setdefault(delta.model_group, len(names)),
            names.setdefault(delta.deployment, len(names)),
            delta.minute,
            [number for pair in delta.counts.items() for number in pair],
            [number for pair in delta.cells.items() for number in pair],
        ]
        for delta in batch.deltas
    ]
    return pack({"worker": batch.worker, "sequence": batch.sequence, "names": list(names), "rows": rows})


def unpack_batch(text: str | bytes) -> Batch:
    """Decode the text of ``pack_batch``.

    Raises:
        UnreadableError: it is something else.
    """
    plain = unpack(text)
    try:
        names = plain["names"]
        deltas = [
            Delta(names[group], names[deployment], minute, _pairs(counts), _pairs(cells))
            for group, deployment, minute, counts, cells, *_ in plain["rows"]
        ]
        return Batch(str(plain["worker"]), int(plain["sequence"]), deltas)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableError("a batch in the exchange cannot be read") from error


def _pairs(numbers: list[int]) -> Mapping[int, int]:
    array("Q", numbers)  # rejects everything but integers from 0 on, in a fifth of the time of a loop
    if max(numbers, default=0) > MOST:
        raise ValueError("more than can have happened")
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def pack_publication(publication: Publication) -> str:
    """Encode a publication as text."""
    return pack(
        {
            "snapshot": snapshot_to_plain(publication.snapshot),
            "remembered": publication.remembered,
            "workers": publication.workers,
        }
    )


def unpack_publication(text: str | bytes) -> Publication:
    """Decode the text of ``pack_publication``.

    Raises:
        UnreadableError: it is something else.
    """
    plain = unpack(text)
    try:
        snapshot = snapshot_from_plain(plain["snapshot"])
        return Publication(snapshot, plain["remembered"], tuple(plain.get("workers", ())))
    except (KeyError, TypeError, UnknownFormatError) as error:
        raise UnreadableError("the published result cannot be read") from error


def pack_windows(windows: Mapping[str, bytes]) -> str:
    """Encode the result of ``Engine.dump_windows`` as text."""
    return pack({name: binascii.b2a_base64(dump, newline=False).decode() for name, dump in windows.items()})


def unpack_windows(text: str | bytes) -> dict[str, bytes]:
    """Decode the text of ``pack_windows``.

    Raises:
        UnreadableError: it is something else.
    """
    try:
        return {str(name): binascii.a2b_base64(dump) for name, dump in unpack(text).items()}
    except (AttributeError, TypeError, binascii.Error) as error:
        raise UnreadableError("a saved state cannot be read") from error
