-- Make a channel of an inbox a member of a group no longer.
--
-- KEYS: the group, the members in the inbox
-- ARGV: the inbox, channels

for index = 2, #ARGV do
    redis.call('SREM', KEYS[2], ARGV[index])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
