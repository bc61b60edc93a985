-- Put the delayed envelopes of a queue that are due into the queue.
--
-- KEYS: the queue, its delayed envelopes, the queues that have any
-- ARGV: the name of the queue, how many envelopes at most
--
-- Those that nobody has taken until their deadline are dropped. As ZREM comes
-- first, a server that is out of memory does not refuse RPUSH.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf',
    string.format('%.0f', time[1] * 1000000 + time[2]), 'LIMIT', 0, ARGV[2])
local last = 0
for _, envelope in ipairs(due) do
    local deadline = tonumber(string.match(envelope, '^%w+ (%d+)') or 0)
    redis.call('ZREM', KEYS[2], envelope)
    if deadline >= now then
        redis.call('RPUSH', KEYS[1], envelope)
        last = math.max(last, deadline)
    end
end
if last > 0 then
    local stays = now + redis.call('PTTL', KEYS[1])
    redis.call('PEXPIREAT', KEYS[1], string.format('%d', math.max(last + 1000, stays)))
end

local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if next then
    redis.call('ZADD', KEYS[3], next, ARGV[1])
    local stays = math.max(redis.call('PTTL', KEYS[2]), redis.call('PTTL', KEYS[3]))
    redis.call('PEXPIRE', KEYS[3], stays)
else
    redis.call('ZREM', KEYS[3], ARGV[1])
end
