-- ARGV: 3 when, 4 version, 5 ms until it ends (0: never), 6 whether it keeps its end, 7 type, 8 value.
-- Returns: the version, or why not.
local no = judge(ARGV[3], redis.call('HGET', KEYS[1], 'n'), ARGV[4])
if no then
    return no
end
local version = next_version()
redis.call('HSET', KEYS[1], 't', ARGV[7], 'v', ARGV[8], 'n', version)
if ARGV[5] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
elseif ARGV[6] == '0' then
    redis.call('PERSIST', KEYS[1])
end
tell('set', version)
return version
