"""What lies in ``tests/data/previous``: compressed files, and a Redis as JSON."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

DATA = Path(__file__).parents[1] / "data" / "previous"
PACKAGE = "package.zip"
"""An earlier version of the package: what shares and stores."""
STORE, OUTCOMES, ENGINES, REDIS, EXPECTED = (
    "records.sqlite.gz",
    "outcomes.jsonl.gz",
    "engines.json.gz",
    "redis.json.gz",
    "expected.json",
)


def unpacked(name: str, to: Path) -> Path:
    """A file of the data, as it was before it was compressed.

    Args:
        name: of the file.
        to: directory that it is written to.
    """
    file = to / name.removesuffix(".gz")
    file.write_bytes(gzip.decompress((DATA / name).read_bytes()))
    return file


def opened(name: str) -> Any:
    """The content of a JSON file."""
    data = (DATA / name).read_bytes()
    return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)


def packed(content: bytes) -> bytes:
    """Compressed, the same each time."""
    return gzip.compress(content, 9, mtime=0)


def dumped(client: redis.Redis) -> dict[str, Any]:
    """Every key with its type, the milliseconds until it ends, and its content in base64."""

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    found: dict[str, Any] = {}
    keys: Any = client.keys("*")
    for key in sorted(keys):
        kind: Any = client.type(key)
        content: Any
        if kind == b"string":
            content = text(_of(client.get(key)))
        elif kind == b"hash":
            content = {text(field): text(value) for field, value in sorted(_of(client.hgetall(key)).items())}
        else:
            content = [[text(member), score] for member, score in _of(client.zrange(key, 0, -1, withscores=True))]
        found[key.decode()] = {"type": kind.decode(), "ends_ms": client.pttl(key), "content": content}
    return found


def loaded(client: redis.Redis, dump: dict[str, Any]) -> None:
    """Put into an empty Redis what ``dumped`` gave."""
    for key, one in dump.items():
        content: Any = one["content"]
        if one["type"] == "string":
            client.set(key, base64.b64decode(content))
        elif one["type"] == "hash":
            client.hset(
                key, mapping={base64.b64decode(name): base64.b64decode(value) for name, value in content.items()}
            )
        else:
            client.zadd(key, {base64.b64decode(member): score for member, score in content})
        if one["ends_ms"] > 0:
            client.pexpire(key, one["ends_ms"])


def _of(value: Any) -> Any:
    return value
