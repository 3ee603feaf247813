-- What every script of a dictionary in Redis begins with. KEYS[1] is the entry, a hash: t (type: i, f or another), v
-- (value), n (version). KEYS[2] counts versions. ARGV[1] is the channel of changes, '' for none; ARGV[2] the key as
-- the dictionary's users know it.

-- Greater than all before. It also follows the time, by a million a second: so it grows even if the counter was lost.
local function next_version()
    local n = redis.call('INCR', KEYS[2])
    local least = redis.call('TIME')[1] * 1048576
    if n < least then
        n = least
        redis.call('SET', KEYS[2], string.format('%.0f', n))
    end
    return string.format('%.0f', n)
end

local function tell(event, version)
    if ARGV[1] ~= '' then
        redis.call('PUBLISH', ARGV[1], event .. ' ' .. version .. ' ' .. ARGV[2])
    end
end

local ABSENT, EXISTS, STALE, NO_NUMBER, TOO_LARGE = 1, 2, 3, 4, 5

-- What a condition says: 'a' always, 'x' only if absent, 'p' only if present, 'v' of that version, where 0 is absence.
local function judge(when, now, version)
    if when == 'x' and now then
        return EXISTS
    elseif when == 'v' and (now or '0') ~= version then
        return STALE
    elseif when == 'p' and not now then
        return ABSENT
    end
    return nil
end
