-- ARGV: token, progress. Returns: how many were not held.
if not redis.call('ZSCORE', leases, ARGV[1]) then
    return 1
end
redis.call('HSET', stem .. 'progress', ARGV[1], ARGV[2])
return 0
