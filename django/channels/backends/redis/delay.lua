-- Keep an envelope beside its queue until it is due.
--
-- KEYS: the queue, its delayed envelopes, the queues that have any [, the key of
--       the body]
-- ARGV: the deadline (ms), CAPACITY, EXPIRY (ms), "1" to take the deadline as it
--       is, the delay (ms), the name of the queue, the envelope [, the body]
--
-- Returns what push.lua does: 0, -1 if there is no room, or the time (µs) if the
-- deadline is not EXPIRY after the delay.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local deadline = tonumber(ARGV[1])
local off = deadline - now - ARGV[3] - ARGV[5]
if ARGV[4] ~= '1' and (off < -20 or off > 2000) then
    return time[1] * 1000000 + time[2]
end

local function expires(envelope)
    return tonumber(string.match(envelope, '^%w+ (%d+)') or 0)
end

-- What has expired does not count. Without a worker it lies there still.
for _ = 1, 10 do
    local first = redis.call('LRANGE', KEYS[1], 0, 0)[1]
    if not first or expires(first) >= now then
        break
    end
    redis.call('LPOP', KEYS[1])
end
for _, first in ipairs(redis.call('ZRANGE', KEYS[2], 0, 9)) do
    if expires(first) < now then
        redis.call('ZREM', KEYS[2], first)
    end
end
local held = redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
if held >= tonumber(ARGV[2]) then
    return -1
end

-- Scores (µs) differ, so that they tell the order of sending, too.
local due = time[1] * 1000000 + time[2] + ARGV[5] * 1000
local score = string.format('%.0f', due)
while redis.call('ZCOUNT', KEYS[2], score, score) > 0 do
    due = due + 1
    score = string.format('%.0f', due)
end
redis.call('ZADD', KEYS[2], score, ARGV[7])
redis.call('ZADD', KEYS[3], 'LT', score, ARGV[6])
if KEYS[4] then
    redis.call('SET', KEYS[4], ARGV[8], 'PX', math.max(deadline - now, 0) + 1000)
end
-- As long as the one that stays longest.
for index = 2, 3 do
    local stays = now + redis.call('PTTL', KEYS[index])
    redis.call('PEXPIREAT', KEYS[index],
        string.format('%d', math.max(deadline + 1000, stays)))
end
return 0
