-- ARGV: tokens. Returns: how many of them were not held.
local held = redis.call('ZREM', leases, unpack(ARGV))
local of = {}
for _, token in ipairs(ARGV) do
    local name, _, entry = parts(token)
    of[name] = of[name] or {}
    table.insert(of[name], entry)
end
-- An entry whose lease is over and that was added anew is not there any more: nothing happens to it.
for name, list in pairs(of) do
    redis.call('XACK', stem .. name, GROUP, unpack(list))
    redis.call('XDEL', stem .. name, unpack(list))
end
redis.call('HDEL', stem .. 'progress', unpack(ARGV))
return #ARGV - held
