-- ARGV: 3 type and 4 value of what is added, 5 and 6 of what there is if there is nothing, and then 7 ms until it
-- ends (0: never). Returns: type, value and version, or why not.
local kind, was = unpack(redis.call('HMGET', KEYS[1], 't', 'v'))
local fresh = not kind
if fresh then
    kind, was = ARGV[5], ARGV[6]
end
if kind ~= 'i' and kind ~= 'f' then
    return NO_NUMBER
end
local sum
if kind == 'i' and ARGV[3] == 'i' then -- numbers of Lua here have 53 bits; those of HINCRBY have 64
    if fresh then
        redis.call('HSET', KEYS[1], 'v', was)
    end
    local done = redis.pcall('HINCRBY', KEYS[1], 'v', ARGV[4])
    if type(done) == 'table' then
        if fresh then
            redis.call('DEL', KEYS[1])
        end
        return TOO_LARGE
    end
    sum = redis.call('HGET', KEYS[1], 'v')
else
    kind = 'f'
    sum = string.format('%.17g', tonumber(was) + tonumber(ARGV[4]))
    redis.call('HSET', KEYS[1], 'v', sum)
end
local version = next_version()
redis.call('HSET', KEYS[1], 't', kind, 'n', version)
if fresh and ARGV[7] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
tell('set', version)
return {kind, sum, version}
