-- Drop what has expired in a queue. Return its length, for how long its first
-- envelope has to live (ms), and the number of those that are delayed.
--
-- KEYS: the queue, its delayed envelopes

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local delayed = redis.call('ZCARD', KEYS[2])
while true do
    local first = redis.call('LRANGE', KEYS[1], 0, 0)[1]
    if not first then
        return {0, 0, delayed}
    end
    local deadline = tonumber(string.match(first, '^%w+ (%d+)') or 0)
    if deadline >= now then
        return {redis.call('LLEN', KEYS[1]), deadline - now, delayed}
    end
    redis.call('LPOP', KEYS[1])
end
