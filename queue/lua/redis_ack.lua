-- ARGV: tokens. Returns: how many of them were not held.
local of, stale = {}, 0
for _, token in ipairs(ARGV) do
    if redis.call('ZREM', leases, token) == 1 then
        local name, _, entry = parts(token)
        of[name] = of[name] or {}
        table.insert(of[name], entry)
    else
        stale = stale + 1
    end
end
for name, list in pairs(of) do
    redis.call('XACK', stem .. name, GROUP, unpack(list))
    redis.call('XDEL', stem .. name, unpack(list))
end
redis.call('HDEL', stem .. 'progress', unpack(ARGV))
return stale
