"""Lua scripts for Redis: each is atomic, and its clock is Redis' own.

All keys of an installation carry one hash tag, so that a cluster keeps them on one node. ``head`` holds the lease
(``leader``, ``token``, ``beat``, ``until``), the last claim that was granted (``asked``: its token, ``lost``: its
answer), ``place`` (the last position given), ``saved`` (the position of the saved state), ``publication`` (its id) and
``vacant`` (the start of the time without a leader). Times and positions are microseconds since the epoch; Lua's numbers
hold them exactly, and need a format to print all digits.
"""

from __future__ import annotations

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function text(number) return string.format('%.0f', number) end
"""

PUSH = (
    _NOW
    + """
local head, batches, held_key, workers, watched = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local worker, previous, sequence, payload = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local keep_s, oldest_s, absent_s = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local known = redis.call('HMGET', held_key, 'sequence', 'place')
local held, place = tonumber(known[1]) or 0, known[2] or '0'
local accepted = 1
if sequence == 0 then
  if held ~= previous then accepted = 0 end
elseif held ~= sequence then
  if held ~= previous then
    accepted = 0
  else
    local last = tonumber(redis.call('HGET', head, 'place')) or 0
    place = text(math.max(now, last + 1))
    redis.call('HSET', head, 'place', place)
    redis.call('ZADD', batches, place, payload)
    redis.call('HSET', held_key, 'sequence', sequence, 'place', place)
    held = sequence
  end
end
redis.call('ZREMRANGEBYSCORE', batches, '-inf', text(now - oldest_s * 1000000))
redis.call('ZADD', workers, text(now), worker)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', text(now - absent_s * 1000000))
for number = 8, #ARGV do redis.call('ZADD', watched, text(now), ARGV[number]) end
redis.call('ZREMRANGEBYSCORE', watched, '-inf', text(now - absent_s * 1000000))
for number = 1, 5 do redis.call('EXPIRE', KEYS[number], keep_s) end
local now_held = redis.call('HMGET', head, 'leader', 'until', 'saved', 'publication')
local leader = now_held[1] or ''
if (tonumber(now_held[2]) or 0) <= now then leader = '' end
return {accepted, held, place, now_held[3] or '0', leader, now_held[4] or ''}
"""
)
"""Add a batch if it follows the last one of its worker, and note the heartbeat.

KEYS: head, batches, held:WORKER, workers, watched. ARGV: worker, previous, sequence (0: no batch), payload, seconds
until keys expire, seconds until batches are deleted, seconds until a silent worker is dropped, watched groups.
Returns {accepted, held, place, saved, leader, publication}."""

CLAIM = (
    _NOW
    + """
local head = KEYS[1]
local worker, my_token, my_beat, prepared = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local lease_s, grace_s, keep_s = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local held = redis.call('HMGET', head, 'token', 'beat', 'leader', 'until', 'vacant', 'asked', 'lost')
local token, beat, leader = tonumber(held[1]) or 0, tonumber(held[2]) or 0, held[3] or ''
local taken = leader ~= '' and (tonumber(held[4]) or 0) > now
local mine = leader == worker and token > 0 and token == my_token
local again = leader == worker and token > 0 and token ~= my_token and tonumber(held[6]) == my_token
local lost = not again and (my_token > token or (mine and beat < my_beat))
if taken and leader ~= worker and not lost then return nil end
if token == 0 and not prepared then
  local vacant = tonumber(held[5])
  if not vacant then
    redis.call('HSET', head, 'vacant', text(now))
    redis.call('EXPIRE', head, keep_s)
    return nil
  end
  if now - vacant < grace_s * 1000000 then return nil end
end
if again then
  lost = held[7] == '1'
elseif lost then
  token = my_token + 1
elseif not mine then
  token = token + 1
end
beat = math.max(beat, my_beat) + 1
redis.call('HSET', head, 'token', text(token), 'beat', text(beat), 'leader', worker, 'asked', text(my_token),
           'lost', lost and '1' or '0', 'until', text(now + lease_s * 1000000))
redis.call('EXPIRE', head, keep_s)
return {text(token), text(beat), lost and 1 or 0}
"""
)
"""Grant or renew the lease; a repeated claim gets the same answer again.

A claim is repeated when its answer did not arrive. KEYS: head. ARGV: worker, token, beat, prepared, seconds of a
lease, seconds of precedence for prepared workers, seconds until keys expire. Returns {token, beat, lost}, or nil."""

PUBLISH = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'publication', ARGV[2])
return 1
"""
"""Put a result in force.

KEYS: head, publication. ARGV: token, id, payload, seconds until keys expire."""

SAVE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  redis.call('UNLINK', KEYS[3])
  return 0
end
redis.call('UNLINK', KEYS[4])
redis.call('RENAME', KEYS[3], KEYS[4])
redis.call('EXPIRE', KEYS[4], ARGV[3])
redis.call('HSET', KEYS[1], 'saved', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2])
return 1
"""
"""Put a saved state in force and delete the batches in it.

KEYS: head, batches, the new state, the state. ARGV: token, position, seconds until keys expire."""

MEMBERSHIP = (
    _NOW
    + """
local since = text(now - tonumber(ARGV[1]) * 1000000)
return {redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf'), redis.call('ZRANGEBYSCORE', KEYS[2], since, '+inf')}
"""
)
"""Return active workers and watched groups. KEYS: workers, watched. ARGV: seconds."""

RELEASE = """
if redis.call('HGET', KEYS[1], 'leader') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', '0') end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
"""Release the lease. KEYS: head, workers. ARGV: worker."""
