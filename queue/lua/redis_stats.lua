-- Returns: ready, delayed, taken, and since when the oldest ready one is, or 0.
make_ready()
-- What is due and was too much for one step counts as ready.
local due, over = redis.call('ZCOUNT', delayed, '-inf', now), redis.call('ZCOUNT', leases, '-inf', now)
local waiting, held = redis.call('ZCARD', delayed) - due, redis.call('ZCARD', leases)
local ready, oldest = due + over - held, 0
for _, name in ipairs(streams()) do
    ready = ready + redis.call('XLEN', stem .. name)
    local first = redis.call('XRANGE', stem .. name, undelivered(name), '+', 'COUNT', 1)[1]
    local since = first and tonumber(string.match(first[1], '^%d+'))
    if since and (oldest == 0 or since < oldest) then
        oldest = since
    end
end
return {ready, waiting, held - over, oldest}
