"""The states that alerts were sent about, in Redis.

Processes of several machines share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.sharing.alert_states import AlertClaim
from exacto_plugin.sharing.redis.connection import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.sharing.alert_states import AlertState
    from exacto_plugin.sharing.redis.connection import RedisConnection

_BUDGET_S = 1.0
_KEY = "alerts"
_KEPT_S = 90 * 86_400
"""Seconds without any change after which all states are forgotten."""
_AT_ONCE = 500
"""States of one call, so that Redis serves others in between."""

CLAIM_STATES = """
local answers = {}
for place = 2, #ARGV, 4 do
  local name, state, at, is_normal = ARGV[place], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3]
  local kept, before, kept_at = redis.call('HGET', KEYS[1], name), nil, nil
  if kept then
    local cut = string.find(kept, ' ', 1, true)
    kept_at, before = tonumber(string.sub(kept, 1, cut - 1)), string.sub(kept, cut + 1)
  end
  local answer = '='
  if before == state or (not kept and is_normal == '1') then
    answer = '='
  elseif kept and kept_at > tonumber(at) then
    answer = '<'
  else
    redis.call('HSET', KEYS[1], name, at .. ' ' .. state)
    answer = '+' .. (before or '')
  end
  answers[#answers + 1] = answer
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return answers
"""
"""Write the states that differ from those kept and are newer.

KEYS: alerts. ARGV: seconds until the key expires, then name, state, time and ``1`` for a normal state, of each. Returns
for each ``=`` (no change), ``<`` (a newer one is kept) or ``+`` and the previous state."""


class RedisAlertStates:
    """The states in one Redis.

    Args:
        link: the connection.
    """

    def __init__(self, link: RedisConnection) -> None:
        self._link = link

    async def claim(self, states: Mapping[str, AlertState]) -> AlertClaim:
        """Write the states that changed.

        Raises:
            ExchangeError: Redis did not answer; it is not known which were written.
        """
        changed: dict[str, str | None] = {}
        outdated: set[str] = set()
        names = list(states)
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            rows = ((name, one.state, repr(one.at), int(one.is_normal)) for name in some for one in (states[name],))
            flat = [value for row in rows for value in row]
            answers = await self._link.script(CLAIM_STATES, [_KEY], _KEPT_S, *flat, budget_s=_BUDGET_S)
            for name, answer in zip(some, map(decode, answers), strict=True):
                if answer[0] == "+":
                    changed[name] = answer[1:] or None
                elif answer == "<":
                    outdated.add(name)
        return AlertClaim(changed, frozenset(outdated))
