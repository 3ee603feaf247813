-- What every script of the queues on Redis begins with. KEYS[1] is the queue's stem, "PREFIX:{NAME}:", with which
-- all its keys begin:
--   s0 ... s9  streams, one a priority; those that are held are in the consumer group's list. An entry has the
--              fields b (body), i (id), and where they say something a (attempts before), n (note), f (the queue a
--              dead letter came from), t (when it was pushed, if that is not the entry's own time), g (progress)
--   r0 ... r9  the same for those that were given back: they come before the others of their priority
--   delayed    a sorted set by the moment when they are due: 16 digits for the order of equal ones, then packed
--              the priority and the fields
--   leases     a sorted set by the moment when the lease ends: STREAM:ENTRY. An entry is delivered once. When its
--              lease ends, it is added anew, so the entry's number is also the delivery's
--   progress   a hash of those that are held: STREAM:ENTRY
--   id:ID      there while a message of that id is not to be pushed again
--   count      numbers the delayed ones
local stem = KEYS[1]
local delayed, leases = stem .. 'delayed', stem .. 'leases'
local GROUP, MOST_AT_ONCE = 'poolsrv', 1000
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- 's3:17-0': its stream's name, its priority and its entry.
local function parts(token)
    return string.match(token, '^(.(%d)):(.+)$')
end

local function value(fields, name)
    for i = 1, #fields, 2 do
        if fields[i] == name then
            return fields[i + 1]
        end
    end
    return nil
end

-- nil takes it away.
local function set(fields, name, to)
    for i = 1, #fields, 2 do
        if fields[i] == name then
            if to ~= nil then
                fields[i + 1] = to
            else
                table.remove(fields, i + 1)
                table.remove(fields, i)
            end
            return
        end
    end
    if to ~= nil then
        fields[#fields + 1] = name
        fields[#fields + 1] = to
    end
end

-- `kind`: 's', or 'r' where it is given back.
local function add(kind, level, fields, of)
    return redis.call('XADD', (of or stem) .. kind .. level, '*', unpack(fields))
end

local function delay(level, fields, due)
    local number = redis.call('INCR', stem .. 'count')
    redis.call('ZADD', delayed, due, string.format('%016d', number) .. cmsgpack.pack(level, fields))
end

local function undelay(member)
    redis.call('ZREM', delayed, member)
    return cmsgpack.unpack(string.sub(member, 17))
end

-- Take a message that is held out of its stream. Returns: its priority and fields; nil if it is not held.
local function remove(token)
    -- First a command that is allowed when the memory is full: then the rest of the script is too.
    if redis.call('ZREM', leases, token) == 0 then
        return nil
    end
    local name, level, entry = parts(token)
    local key = stem .. name
    local found = redis.call('XRANGE', key, entry, entry)[1]
    local progress = redis.call('HGET', stem .. 'progress', token)
    redis.call('XACK', key, GROUP, entry)
    redis.call('XDEL', key, entry)
    if progress then
        redis.call('HDEL', stem .. 'progress', token)
    end
    if not found then
        return nil
    end
    local fields = found[2]
    if not value(fields, 't') then
        set(fields, 't', string.match(entry, '^%d+'))
    end
    if progress then
        set(fields, 'g', progress)
    end
    return level, fields
end

local function attempts(fields)
    return tonumber(value(fields, 'a') or 0)
end

-- Is this the error of a stream that nobody has taken from yet? Any other one is raised.
local function lacks_group(reply)
    if not reply or not reply.err then
        return false
    end
    if not string.find(reply.err, 'NOGROUP', 1, true) then
        error(reply.err, 0)
    end
    return true
end

-- What is due becomes ready: delayed messages, and those whose lease is over.
local function make_ready()
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, MOST_AT_ONCE)
    for _, member in ipairs(due) do
        add('s', undelay(member))
    end
    local over = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, MOST_AT_ONCE)
    for _, token in ipairs(over) do
        local level, fields = remove(token)
        if level then
            set(fields, 'a', attempts(fields) + 1)
            add('s', level, fields)
        end
    end
end

-- The names of the streams that there are, in the order in which they are served. Most queues have s0 alone.
local function streams()
    local others, keys = {}, {}
    for level = 0, 9 do
        for _, kind in ipairs({'s', 'r'}) do
            others[#others + 1] = kind .. level
            keys[#keys + 1] = stem .. kind .. level
        end
    end
    local left, list = redis.call('EXISTS', unpack(keys)), {}
    for i, name in ipairs(others) do
        if left > 0 and redis.call('EXISTS', keys[i]) == 1 then
            table.insert(list, 1, name)
            left = left - 1
        end
    end
    return list
end

-- Where the entries of a stream begin that were never delivered, as XRANGE wants it.
local function undelivered(name)
    local groups = redis.call('XINFO', 'GROUPS', stem .. name)
    for _, group in ipairs(groups) do
        if value(group, 'name') == GROUP then
            return '(' .. value(group, 'last-delivered-id')
        end
    end
    return '-'
end

-- When the first of that set is due, in milliseconds from now, or -1.
local function first_due(key)
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    return first and math.max(tonumber(first) - now, 0) or -1
end
