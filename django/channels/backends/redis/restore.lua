-- Put an envelope that nobody has looked at back to the front of its queue.
--
-- KEYS: the queue
-- ARGV: the envelope

local deadline = tonumber(string.match(ARGV[1], '^%w+ (%d+)') or 0)
local time = redis.call('TIME')
local left = deadline + 1000 - (time[1] * 1000 + math.floor(time[2] / 1000))
if left > 0 then
    redis.call('LPUSH', KEYS[1], ARGV[1])
    redis.call('PEXPIRE', KEYS[1], math.max(left, redis.call('PTTL', KEYS[1])))
end
