-- One request of one source, by the rule of `domain::rate::decide`, line by line.
-- KEYS[1]: the counter. ARGV: interval, tolerance, cost, and how far ahead of now the asking
-- server remembers the counter to be, all but the cost in microseconds.
-- Answer: now, the counter's new time, and the milliseconds to wait (0: go ahead).
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local cost, remembered = tonumber(ARGV[3]), tonumber(ARGV[4])

-- This server's clock, in whole milliseconds, as the rule has them: it is the one clock that
-- all who count here share, however far theirs are apart.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + math.floor(tonumber(time[2]) / 1000) * 1000

-- A counter that is gone was paid off, or was lost in a restart, a flush or an eviction:
-- what the asking server still knows of it counts.
local stored = redis.call('GET', KEYS[1])
local tat = stored and tonumber(stored) or now + remembered

local horizon = now + tolerance
local paid_off = math.min(math.max(tat, now), horizon)
local after = paid_off + interval * math.max(cost, 1)
if after > horizon then
    return { now, paid_off, math.floor((after - horizon - 1) / 1000) + 1 }
end
if cost == 0 then
    return { now, paid_off, 0 }
end
-- Kept only as long as it says anything. Numbers are spelled out: Lua would round them.
local life = math.floor((after - now - 1) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', string.format('%.0f', life))
return { now, after, 0 }
