-- ARGV: token, lease. Returns: how many were not held.
if redis.call('ZREM', leases, ARGV[1]) == 0 then -- not ZADD XX: that is refused when the memory is full
    return 1
end
redis.call('ZADD', leases, now + tonumber(ARGV[2]), ARGV[1])
return 0
