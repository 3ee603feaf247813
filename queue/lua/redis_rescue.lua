-- ARGV: consumer, how long. What has been held for so long without a lease, since somebody deleted `leases` or the
-- server evicted it, gets one that is over. Returns: how many.
local n = 0
for _, name in ipairs(streams()) do
    local at = '0-0'
    repeat
        local got = redis.pcall('XAUTOCLAIM', stem .. name, GROUP, ARGV[1], ARGV[2], at, 'COUNT', 100, 'JUSTID')
        local lacks = lacks_group(got)
        at = lacks and '0-0' or got[1]
        for _, entry in ipairs(lacks and {} or got[2]) do
            n = n + redis.call('ZADD', leases, 'NX', now, name .. ':' .. entry)
        end
    until at == '0-0'
end
return n
