"""Bounds the cost of a schema: a graph of subschemas with weights and loops.

The weight is the number of schema nodes that one path through the arguments can cause to be evaluated: subschemas
that apply to the same value are added; of those that apply to different children the largest counts. The cost is the
same sum weighted by the cost of each node. Both are upper bounds, computed once per schema. Independent of keywords
and of JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.scoring.limits import NotCompilableError, ScoringLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class SchemaGraph:
    """Subschemas as numbered nodes; node 0 is the root.

    ``prepare`` fills the graph, which is then measured once.
    """

    __slots__ = ("_always", "_children", "_in_place", "_own", "_references")

    def __init__(self) -> None:
        self._own: list[int] = []
        self._in_place: list[list[int]] = []
        self._children: list[list[int]] = []
        self._always: list[list[int]] = []
        self._references: set[int] = set()

    def __len__(self) -> int:
        return len(self._own)

    def add_node(self) -> int:
        """Add a node of cost 1 and return its number."""
        self._own.append(1)
        self._in_place.append([])
        self._children.append([])
        self._always.append([])
        return len(self._own) - 1

    def add_cost(self, node: int, cost: int) -> None:
        """Add to a node's own cost, in units of plain nodes; its weight stays 1."""
        self._own[node] += cost

    def add_in_place(self, node: int, sub: int) -> None:
        """Add ``sub`` on the same value as ``node`` (``allOf``, ``if``, ...)."""
        self._in_place[node].append(sub)

    def add_reference(self, node: int, target: int) -> None:
        """Mark ``node`` as a ``$ref`` to ``target``."""
        self._in_place[node].append(target)
        self._references.add(node)

    def add_child(self, node: int, sub: int) -> None:
        """Add ``sub``, which applies to one of the children (``properties``).

        At most one of these applies to any child.
        """
        self._children[node].append(sub)

    def add_to_every_child(self, node: int, sub: int) -> None:
        """Add ``sub``, which can apply to any child (``patternProperties``, ``contains``)."""
        self._always[node].append(sub)

    def measure(self, limits: ScoringLimits) -> tuple[int, bool]:
        """Return the cost of the root, and True for a recursive schema.

        Raises:
            NotCompilableError: a loop of subschemas on the same value (``cycle``), or a limit (``reference_depth``,
                ``schema_weight``).
        """
        if not self._references:  # a tree: every node was added after its parent
            return self._cost(range(len(self._own) - 1, -1, -1), limits), False
        if _postorder(self._in_place)[1]:
            raise NotCompilableError("cycle")
        edges = [[*a, *b, *c] for a, b, c in zip(self._in_place, self._children, self._always, strict=True)]
        order, recursive = _postorder(edges)
        chain = [0] * len(edges)
        for node in order:
            chain[node] = max((chain[sub] for sub in edges[node]), default=0) + (node in self._references)
        if chain[0] > limits.reference_depth:
            raise NotCompilableError("reference_depth", limit=True)
        return self._cost(order, limits), recursive

    def _cost(self, order: Iterable[int], limits: ScoringLimits) -> int:
        plain = [1] * len(self._own)
        weight = self._add_up(order, plain, limits.schema_weight)
        if weight > limits.schema_weight:
            raise NotCompilableError("schema_weight", limit=True)
        return weight if self._own == plain else self._add_up(order, self._own, limits.evaluations)

    def _add_up(self, order: Iterable[int], own: Sequence[int], limit: int) -> int:
        """Return the root's sum of ``own``, or ``limit + 1`` if it exceeds ``limit``."""
        # Targets of a back edge have no sum yet and count 1: the depth of a recursion depends on the arguments, whose
        # size is bounded separately.
        total = [1] * len(own)
        for node in order:
            here = own[node]
            for sub in self._in_place[node]:
                here += total[sub]
            for sub in self._always[node]:
                here += total[sub]
            if self._children[node]:
                here += max(map(total.__getitem__, self._children[node]))
            total[node] = min(here, limit + 1)
        return total[0]


def _postorder(edges: Sequence[Sequence[int]]) -> tuple[list[int], bool]:
    """Return all nodes, each after its successors, and True if an edge closes a loop.

    Iterative, because chains are long.
    """
    unseen, open_, done = 0, 1, 2
    state = [unseen] * len(edges)
    order: list[int] = []
    loop = False
    for start in range(len(edges)):
        if state[start] is not unseen:
            continue
        state[start] = open_
        stack = [(start, iter(edges[start]))]
        while stack:
            node, follow_ups = stack[-1]
            for sub in follow_ups:
                if state[sub] is unseen:
                    state[sub] = open_
                    stack.append((sub, iter(edges[sub])))
                    break
                loop = loop or state[sub] is open_
            else:
                state[node] = done
                order.append(node)
                stack.pop()
    return order, loop
