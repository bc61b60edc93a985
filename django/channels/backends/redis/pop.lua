-- Remove the first envelope of the first queue that has one.
--
-- KEYS: queues. Returns {queue, envelope}, or nil.
-- Redis 7 has LMPOP for it.

for _, queue in ipairs(KEYS) do
    local envelope = redis.call('LPOP', queue)
    if envelope then
        return {queue, envelope}
    end
end
return false
