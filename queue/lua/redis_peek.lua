-- ARGV: most. Returns: a message each: {'ready', 'delayed' or 'taken', token, when it was ready, is due, or its lease
-- ends, fields, priority, progress}.
local most, reply = tonumber(ARGV[1]), {}

local function show(state, token, due, fields, level)
    local progress = state == 'taken' and redis.call('HGET', stem .. 'progress', token)
    reply[#reply + 1] = {state, token, due, fields, level, progress or value(fields, 'g') or '-1'}
end

make_ready()
for _, name in ipairs(streams()) do
    local left = most - #reply
    local list = left > 0 and redis.call('XRANGE', stem .. name, undelivered(name), '+', 'COUNT', left) or {}
    for _, entry in ipairs(list) do
        show('ready', name .. ':' .. entry[1], string.match(entry[1], '^%d+'), entry[2], string.sub(name, 2))
    end
end
if #reply < most then
    local list = redis.call('ZRANGE', delayed, 0, most - #reply - 1, 'WITHSCORES')
    for i = 1, #list, 2 do
        local level, fields = cmsgpack.unpack(string.sub(list[i], 17))
        show('delayed', '', list[i + 1], fields, level)
    end
end
if #reply < most then
    local list = redis.call('ZRANGE', leases, 0, most - #reply - 1, 'WITHSCORES')
    for i = 1, #list, 2 do
        local name, level, entry = parts(list[i])
        local found = redis.call('XRANGE', stem .. name, entry, entry)[1]
        if found then
            show('taken', list[i], list[i + 1], found[2], level)
        end
    end
end
return reply
