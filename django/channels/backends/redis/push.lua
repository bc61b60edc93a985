-- Append envelopes to a queue.
--
-- KEYS: the queue [, the key of the body of the one envelope]
-- ARGV: the deadline (ms) of the first, CAPACITY, EXPIRY (ms), "1" to take the
--       deadline as it is, the envelopes [, the body]
--
-- Returns 0, or -1 for each of the last envelopes that the queue has no room
-- for, or the time (µs) if the deadline is not EXPIRY from now: then the sender
-- does not know what time it is here.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local deadline = tonumber(ARGV[1])
local off = deadline - now - tonumber(ARGV[3])
if ARGV[4] ~= '1' and (off < -20 or off > 2000) then
    return time[1] * 1000000 + time[2]
end

local last = #ARGV
if KEYS[2] then
    last = last - 1
end

-- What has expired goes, a few at a time: each send adds fewer.
local length = redis.call('LLEN', KEYS[1])
for _ = 1, 10 + last - 5 do
    local first = length > 0 and redis.call('LRANGE', KEYS[1], 0, 0)[1]
    local expires = tonumber(string.match(first or '', '^%w+ (%d+)') or 0)
    if not first or expires >= now then
        break
    end
    redis.call('LPOP', KEYS[1])
    length = length - 1
end
local room = math.max(tonumber(ARGV[2]) - length, 0)
local refused = math.max(last - 4 - room, 0)
last = last - refused
if last < 5 then
    return -refused
end

if KEYS[2] then
    redis.call('SET', KEYS[2], ARGV[6], 'PX', math.max(deadline - now, 0) + 1000)
end
redis.call('RPUSH', KEYS[1], unpack(ARGV, 5, last))
-- As long as the one that stays longest, also if EXPIRY has been changed.
local stays = now + redis.call('PTTL', KEYS[1])
redis.call('PEXPIREAT', KEYS[1], math.max(deadline + 1000, stays))
return -refused
