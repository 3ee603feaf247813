-- Dead letters go back, delayed messages become ready: a step of it.
-- KEYS: this queue's stem. ARGV: id or '' for all, where to begin, the prefix of all keys.
-- Where: STREAM:ENTRY for the entries behind that one, STREAM:- for all, d:RANK for the delayed ones. '' begins.
-- Returns: how many, where to go on or '', then the names of the queues that they went to.
local id, place, prefix = ARGV[1], ARGV[2], ARGV[3]
local at, from = string.match(place, '^(.%d?):(.+)$')
local went, count, queues = {}, 0, {}

local function send(level, fields)
    local home = value(fields, 'f')
    if home then
        for _, name in ipairs({'a', 'n', 'f', 'g'}) do
            set(fields, name, nil)
        end
    end
    add('s', level, fields, home and prefix .. ':{' .. home .. '}:' or stem)
    count = count + 1
    went[home or ''] = true
end

local function wanted(fields)
    return id == '' or value(fields, 'i') == id
end

-- The stream that comes after that one, or the delayed ones.
local function after(name)
    local list = streams()
    for i, one in ipairs(list) do
        if name == '' or list[i - 1] == name then
            return one .. ':-'
        end
    end
    return 'd:0'
end

local function revive_ready(name)
    local key = stem .. name
    local first = from == '-' and undelivered(name) or '(' .. from
    local list = redis.call('XRANGE', key, first, '+', 'COUNT', MOST_AT_ONCE)
    for _, entry in ipairs(list) do
        local fields = entry[2]
        if value(fields, 'f') and wanted(fields) then
            redis.call('XDEL', key, entry[1])
            if not value(fields, 't') then
                set(fields, 't', string.match(entry[1], '^%d+'))
            end
            send(string.sub(name, 2), fields)
        end
    end
    return #list == MOST_AT_ONCE and name .. ':' .. list[#list][1] or after(name)
end

local function revive_delayed(rank)
    local list = redis.call('ZRANGE', delayed, rank, rank + MOST_AT_ONCE - 1)
    for _, member in ipairs(list) do
        local level, fields = cmsgpack.unpack(string.sub(member, 17))
        if wanted(fields) then
            undelay(member)
            send(level, fields)
        else
            rank = rank + 1
        end
    end
    return #list == MOST_AT_ONCE and 'd:' .. rank or ''
end

local next_place
if place == '' then
    make_ready()
    next_place = after('')
else
    next_place = at == 'd' and revive_delayed(tonumber(from)) or revive_ready(at)
end
for name in pairs(went) do
    queues[#queues + 1] = name
end
return {count, next_place, unpack(queues)}
