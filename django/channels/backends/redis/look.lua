-- Drop what has expired in a queue. Return its length, and for how long its
-- first envelope has to live (ms).
--
-- KEYS: the queue

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
while true do
    local first = redis.call('LRANGE', KEYS[1], 0, 0)[1]
    if not first then
        return {0, 0}
    end
    local deadline = tonumber(string.match(first, '^%w+ (%d+)') or 0)
    if deadline >= now then
        return {redis.call('LLEN', KEYS[1]), deadline - now}
    end
    redis.call('LPOP', KEYS[1])
end
