-- ARGV: how many may go yet, or '' at the first step: as many as there are. Returns: how many went, and how many may
-- go yet.
make_ready()
local left = tonumber(ARGV[1])
if not left then
    left = redis.call('ZCARD', delayed) - redis.call('ZCARD', leases)
    for _, name in ipairs(streams()) do
        left = left + redis.call('XLEN', stem .. name)
    end
end

local function room(gone)
    return math.min(left, MOST_AT_ONCE) - gone
end

local gone = 0
if room(gone) > 0 then
    gone = redis.call('ZREMRANGEBYRANK', delayed, 0, room(gone) - 1)
end
for _, name in ipairs(streams()) do
    local list = room(gone) > 0 and redis.call('XRANGE', stem .. name, undelivered(name), '+', 'COUNT', room(gone))
        or {}
    for i, entry in ipairs(list) do
        list[i] = entry[1]
    end
    if #list > 0 then
        gone = gone + redis.call('XDEL', stem .. name, unpack(list))
    end
end
return {gone, gone > 0 and left - gone or 0}
