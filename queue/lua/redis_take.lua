-- ARGV: most, lease, consumer. Returns: when something is due next, in ms from now, or -1; then a message each:
-- {token, when its lease ends, fields}.
local most, lease_end = tonumber(ARGV[1]), now + tonumber(ARGV[2])
local reply, held = {-1}, {}

local function read(key)
    return redis.pcall('XREADGROUP', 'GROUP', GROUP, ARGV[3], 'COUNT', most, 'STREAMS', key, '>')
end

local function entries(name)
    local key = stem .. name
    local got = read(key)
    if lacks_group(got) then
        redis.call('ZREM', leases, '') -- as in `remove`: making the group is then allowed with full memory too
        redis.call('XGROUP', 'CREATE', key, GROUP, '0')
        got = read(key)
    end
    return got and got[1][2] or {}
end

make_ready()
for _, name in ipairs(streams()) do
    for _, entry in ipairs(most > 0 and entries(name) or {}) do
        local token = name .. ':' .. entry[1]
        most = most - 1
        held[#held + 1] = lease_end
        held[#held + 1] = token
        reply[#reply + 1] = {token, lease_end, entry[2]}
    end
end
if #held > 0 then
    redis.call('ZADD', leases, unpack(held))
end
if most > 0 then
    local a, b = first_due(delayed), first_due(leases)
    reply[1] = (a < 0 or (b >= 0 and b < a)) and b or a
end
return reply
