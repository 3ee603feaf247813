-- ARGV: priority, body, id, delay, window, most (0: any number of messages). Returns: 'ok', 'duplicate' or 'full'.
local level, body, id = ARGV[1], ARGV[2], ARGV[3]
local wait, window, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local seen = stem .. 'id:' .. id

local function size()
    local n = redis.call('ZCARD', delayed)
    for _, name in ipairs(streams()) do
        n = n + redis.call('XLEN', stem .. name)
    end
    return n
end

if window > 0 and redis.call('EXISTS', seen) == 1 then
    return 'duplicate'
end
if most > 0 and size() >= most then
    return 'full'
end
if window > 0 then
    redis.call('SET', seen, '', 'PX', window)
end
if wait > 0 then
    delay(level, {'b', body, 'i', id, 't', now}, now + wait)
else
    add('s', level, {'b', body, 'i', id})
end
return 'ok'
