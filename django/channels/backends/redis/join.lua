-- Make channels of an inbox members of a group.
--
-- KEYS: the group, the members in the inbox
-- ARGV: the inbox, EXPIRY (ms), channels

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for index = 3, #ARGV do
    redis.call('SADD', KEYS[2], ARGV[index])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('EXISTS', KEYS[2])
