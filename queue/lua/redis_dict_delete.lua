-- ARGV: 3 when, 4 version. Returns: the version that it had, or why not.
local now = redis.call('HGET', KEYS[1], 'n')
local no = judge(ARGV[3], now, ARGV[4])
if no or not now then
    return no or ABSENT
end
redis.call('DEL', KEYS[1])
tell('delete', now)
return now
