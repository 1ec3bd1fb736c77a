"""Inputs of a recompute for one model group as bytes, and their replay.

From the bytes and the preset, ``replay`` gives the tiers, reasons and references of that recompute bit for bit (with
the same NumPy on the same kind of processor; elsewhere logarithms may differ in the last digit). Does no I/O;
``checkpoints`` selects the inputs to keep.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from exacto_plugin.core.model import BenchmarkScores, DeploymentKey, SignalValue, VerifierFinding
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.columns import Block, BlockVerdicts, Reading
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.core.windows.slots import NO_SLOT
from exacto_plugin.core.windows.speed import SpeedMedians
from exacto_plugin.core.wire import from_wire, to_wire, wire_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import GroupSnapshot
    from exacto_plugin.core.tiers.columns import Preset, TierRule

R = TypeVar("R")

_FORMAT = 1
"""First byte of all encoded inputs."""

_ADDED_NUMBERS: Mapping[type, Mapping[str, Any]] = {
    OpenRouterParameters: {"verify_peers": 1},
    AdaptiveParameters: {
        "bad_call_price": 0.0,
        "max_cost_premium": None,
        "convicting_floor": 1.0,
        "common_cause": 0.0,
        "chance_power": 1.0,
        "suspect_chance": 0.0,
        "trial_share": 0.0,
        "convicting_tail": 1.0,
        "convicting_z": 0.0,
        "refusal_hold_s": 0.0,
        "refusal_spread": 2.0,
    },
}
"""Numbers added to a rule later, with the value that older records were judged by."""

_INTEGERS = {code: np.dtype(f"<{code}") for code in ("i1", "i2", "i4", "i8")}
_ZEROS, _SAME, _FLOATS = "0", "=", "f8"
_FLOAT = np.dtype("<f8")


_SHARES = ("weight", "capacity", "price")
"""Columns of a block, before those of the rule; also attributes of ``GroupInputs``."""

_ADDED: tuple[Mapping[str, float], ...] = (
    {"evidence.account_calls": 1.0, "evidence.account_bad": 1.0, "evidence.by_account": 0.0},
    {"price": np.nan, "memory.by_price": 0.0}
    | dict.fromkeys(("memory.common_begin", "memory.common_end"), np.nan)
    | dict.fromkeys(("memory.common_rise", "memory.common_deployments"), np.nan),
    {"evidence.quiet_calls": np.nan, "evidence.quiet_bad": np.nan},
    {
        "memory.suspended": 0.0,
        **dict.fromkeys(("memory.limit", "memory.refused_at", "memory.refused_share"), np.nan),
        **dict.fromkeys((f"refusals.{name}" for name in ("attempts", "refused", "carried", "reported", "pace")), 0.0),
    },
)
"""Columns that earlier versions did not have, each with the number that leaves verdicts as they were.

In the order in which versions added them; those that were added together are one mapping."""


class InputsError(ValueError):
    """Error for bytes that are no inputs of this version's rules."""


@dataclass(frozen=True, slots=True)
class GroupInputs:
    """Inputs of one model group; deployments are the last axis of each array."""

    model_group: str
    deployments: tuple[DeploymentKey, ...]
    width: int
    """Width of the evaluated block; sums of floats depend on the length of the
    summed array."""
    weight: NDArray[np.float64]
    capacity: NDArray[np.float64]
    price: NDArray[np.float64]
    reading: Reading
    scores: BenchmarkScores | None


class BlockInputs(NamedTuple):
    """Inputs of a whole block.

    Copied as a whole, because that costs little more than one group.
    """

    block: Block
    reading: Reading
    scores: Mapping[str, BenchmarkScores]

    def of(self, number: int) -> GroupInputs:
        """Return the inputs of one of the block's groups."""
        block, group = self.block, self.block.groups[number]
        names = tuple(block.positions[number])
        columns = {name: column[..., number, : len(names)] for name, column in self.reading.columns.items()}
        return GroupInputs(
            group,
            names,
            block.member.shape[1],
            block.weight[number, : len(names)],
            block.capacity[number, : len(names)],
            block.price[number, : len(names)],
            self.reading._replace(columns=columns),
            self.scores.get(group),
        )


def read_block(judge: TierRule, block: Block, scores: Mapping[str, BenchmarkScores]) -> BlockInputs:
    """Return the current inputs of ``judge.judge(block, scores)``."""
    return BlockInputs(
        block, judge.read(block.slots), {group: scores[group] for group in block.groups if group in scores}
    )


def encode(inputs: GroupInputs) -> bytes:
    """Encode inputs as bytes: exact and compressed.

    20 deployments: 0.6 ms and 1.1 kB (measured).
    """
    columns = {**{name: getattr(inputs, name) for name in _SHARES}, **inputs.reading.columns}
    packed = [_pack(np.asarray(column, np.float64)) for column in columns.values()]
    header = {
        "layout": _layout(columns),
        "group": inputs.model_group,
        "deployments": inputs.deployments,
        "width": inputs.width,
        "times": inputs.reading.times,
        "codes": [code for code, _ in packed],
        "scores": None if inputs.scores is None else _scores_plain(inputs.scores),
    }
    told = json.dumps(header, separators=(",", ":")).encode()
    body = len(told).to_bytes(4, "little") + told + b"".join(part for _, part in packed)
    return bytes([_FORMAT]) + zlib.compress(body, 6)


def decode(data: bytes, preset: Preset) -> GroupInputs:
    """Decode exactly the inputs that ``encode`` wrote.

    Args:
        data: the bytes.
        preset: the preset under which they were read; its columns define the layout of the numbers.

    Raises:
        InputsError: the bytes are damaged, or another version's.
    """
    if data[:1] != bytes([_FORMAT]):
        raise InputsError("not written in a format that this version reads")
    try:
        body = zlib.decompress(data[1:])
        end = 4 + int.from_bytes(body[:4], "little")
        header = json.loads(body[4:end])
        names = tuple(header["deployments"])
        columns = _column_shapes(preset, len(names))
        held = next((each for each in _layouts(columns) if header["layout"] == _layout(each)), None)
        if held is None:
            raise InputsError("written by a version that measured other things, or under another preset")
        for (name, column), code in zip(held.items(), header["codes"], strict=True):
            columns[name], end = _unpack(body, end, code, column.shape)
        scores = _scores(header["scores"])
        weight, capacity, price = (columns.pop(name) for name in _SHARES)
        reading = Reading(columns, tuple(header["times"]))
        return GroupInputs(header["group"], names, header["width"], weight, capacity, price, reading, scores)
    except (zlib.error, ValueError, LookupError, TypeError) as error:
        raise error if isinstance(error, InputsError) else InputsError("damaged") from None


def replay(inputs: GroupInputs, preset: Preset, at: float) -> GroupSnapshot:
    """Recompute the verdicts and references of inputs under a preset.

    Values that do not follow from the inputs are left at their default: the start of each tier, and percentiles.
    """
    count, width = len(inputs.deployments), inputs.width
    judge = preset.judge()
    judge.resize(count + 1)
    slots = np.full((1, width), NO_SLOT, np.intp)
    slots[0, :count] = np.arange(count) + 1
    weight, capacity, price = np.zeros((1, width)), np.full((1, width), np.inf), np.full((1, width), np.nan)
    weight[0, :count], capacity[0, :count], price[0, :count] = inputs.weight, inputs.capacity, inputs.price
    judge.restore(inputs.reading, slots[0, :count])
    positions = {name: place for place, name in enumerate(inputs.deployments)}
    block = Block((inputs.model_group,), (positions,), slots, slots != NO_SLOT, weight, capacity, price)
    scores = {} if inputs.scores is None else {inputs.model_group: inputs.scores}
    unknown = SpeedMedians(np.zeros((1, width), np.int64), np.full((1, width), np.nan))
    assignments = judge.judge(block, scores)
    return BlockVerdicts(block, assignments, np.zeros((1, width)), unknown, unknown, at).group(0)


def preset_as_plain(preset: Preset) -> dict[str, Any]:
    """Return a preset with all of its numbers as plain data.

    The names are those of the settings; exact when written as JSON.
    """
    if isinstance(preset, AdaptivePreset):
        plain = {"preset": "adaptive", "exploration_share": preset.exploration_share, "rule": asdict(preset.rule)}
        return plain | ({"broken_answers": True} if preset.broken_answers else {})
    if isinstance(preset, OpenRouterParameters):
        preset = OpenRouterPreset(preset)
    if isinstance(preset, OpenRouterPreset):
        return {"preset": "openrouter", "counts_lost": preset.counts_lost, "rule": asdict(preset.rule)}
    raise TypeError(f"not a preset that can be written down: {type(preset).__name__}")


def preset_of_plain(plain: Mapping[str, Any]) -> Preset:
    """Restore the preset that ``preset_as_plain`` wrote.

    Raises:
        InputsError: it has numbers that this version does not know, or lacks some that its version had.
    """
    kinds: Mapping[str, tuple[type[AdaptiveParameters | OpenRouterParameters], str]] = {
        "adaptive": (AdaptiveParameters, "exploration_share"),
        "openrouter": (OpenRouterParameters, "counts_lost"),
    }
    rule_type, further = kinds.get(str(plain.get("preset")), (AdaptiveParameters, ""))
    rule = plain.get("rule")
    rule = {**_ADDED_NUMBERS.get(rule_type, {}), **rule} if isinstance(rule, dict) else {}
    if further not in plain or rule.keys() != {field.name for field in fields(rule_type)}:
        raise InputsError("a rule with numbers that this version does not know")
    made = rule_type(**rule)
    if isinstance(made, AdaptiveParameters):
        return AdaptivePreset(made, plain[further], plain.get("broken_answers") is True)
    return OpenRouterPreset(made, counts_lost=plain[further])


def _column_shapes(preset: Preset, deployments: int) -> dict[str, NDArray[Any]]:
    """Return zero columns with the names and shapes that a preset's rule reads.

    The columns are in the order of the rule.
    """
    judge = preset.judge()
    judge.resize(deployments)
    each = np.zeros(deployments)
    return {**{name: each.copy() for name in _SHARES}, **judge.read(np.arange(deployments)).columns}


def _layouts(columns: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Return the columns of this version's records, then those of earlier ones.

    Columns that an earlier version did not have are set to what they stand for in its records.
    """
    yield dict(columns)
    held = dict(columns)
    for added in reversed(_ADDED):
        for name in held.keys() & added.keys():
            columns[name][...] = added[name]
        held = {name: column for name, column in held.items() if name not in added}
        yield held


def _layout(columns: Mapping[str, NDArray[Any]]) -> int:
    """Return a checksum of the names, order and shapes of columns."""
    return zlib.crc32(repr([(name, column.shape[:-1]) for name, column in columns.items()]).encode())


def _pack(column: NDArray[np.float64]) -> tuple[str, bytes]:
    """Encode a column in the shortest lossless form; returns form and bytes."""
    flat = np.ascontiguousarray(column, _FLOAT).reshape(-1)
    bits = flat.view(np.int64)
    if not bits.any():
        return _ZEROS, b""
    if (bits == bits[0]).all():
        return _SAME, flat[:1].tobytes()
    low, high = float(flat.min()), float(flat.max())  # NaN is neither below nor above
    if -(2.0**53) < low <= high < 2.0**53 and (np.trunc(flat) == flat).all() and not np.signbit(flat[flat == 0]).any():
        for code, kind in _INTEGERS.items():
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return code, flat.astype(kind).tobytes()
    return _FLOATS, flat.tobytes()


def _unpack(body: bytes, start: int, code: str, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], int]:
    """Decode a column; returns it and the start of the next one."""
    count = int(np.prod(shape))
    if code == _ZEROS:
        return np.zeros(shape), start
    if code == _SAME:
        return np.full(shape, np.frombuffer(body, _FLOAT, 1, start)[0]), start + _FLOAT.itemsize
    kind = _FLOAT if code == _FLOATS else _INTEGERS[code]
    found = np.frombuffer(body, kind, count, start).astype(np.float64)
    return found.reshape(shape), start + count * kind.itemsize


def _scores_plain(scores: BenchmarkScores) -> dict[str, Any]:
    plain = {
        **to_wire(scores),
        "scores": {name: to_wire(value) for name, value in scores.scores.items()},
        "findings": {name: to_wire(found) for name, found in scores.findings.items()},
    }
    added = {"limits": scores.limits, "runs": scores.runs, "findings": scores.findings}
    return {name: value for name, value in plain.items() if added.get(name, True)}  # older versions do not know these


def _scores(plain: Mapping[str, Any] | None) -> BenchmarkScores | None:
    if plain is None:
        return None
    values = {name: _exactly(SignalValue, value) for name, value in plain["scores"].items()}
    findings = {name: _exactly(VerifierFinding, found) for name, found in plain.get("findings", {}).items()}
    return _exactly(BenchmarkScores, {**plain, "scores": values, "findings": findings})


def _exactly(kind: type[R], plain: Mapping[str, Any]) -> R:
    """Restore a record.

    Raises:
        ValueError: it has fields that this version does not use.
    """
    if not plain.keys() <= set(wire_names(kind).values()):
        raise ValueError(f"unknown numbers of {kind.__name__}")
    return from_wire(kind, plain)
