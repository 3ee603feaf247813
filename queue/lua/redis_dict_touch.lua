-- ARGV: 3 when, 4 version, 5 ms until it ends (0: never). Returns: the version, or why not.
local now = redis.call('HGET', KEYS[1], 'n')
local no = judge(ARGV[3], now, ARGV[4])
if no or not now then
    return no or ABSENT
end
if ARGV[5] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
    redis.call('PERSIST', KEYS[1])
end
tell('touch', now)
return now
