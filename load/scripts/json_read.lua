-- Reads JSON into Lua tables, for checking replies inside wrk, whose LuaJIT brings no JSON. It takes what the
-- perf app sends: \u escapes are left as they are, null is nil, and whatever is malformed raises an error.

local read_value

local LITERALS = { ["true"] = true, ["false"] = false, null = nil }
local ESCAPES = { n = "\n", t = "\t", r = "\r", b = "\b", f = "\f" }

local function skip(text, at)
    return text:find("[^ \t\r\n]", at) or #text + 1
end

local function read_string(text, at)
    local from = at + 1
    local stop = from
    while true do
        stop = assert(text:find('["\\]', stop), "unclosed string")
        if text:byte(stop) == 34 then break end
        stop = stop + 2
    end
    local raw = text:sub(from, stop - 1)
    return raw:gsub("\\([^u])", function(c) return ESCAPES[c] or c end), stop + 1
end

-- The members of an array or object up to the closing character; read_member returns where it stopped.
local function read_members(text, at, closing, read_member)
    at = skip(text, at + 1)
    if text:sub(at, at) == closing then return at + 1 end
    while true do
        at = skip(text, read_member(at))
        local mark = text:sub(at, at)
        if mark == closing then return at + 1 end
        assert(mark == ",", "no comma at " .. at)
        at = skip(text, at + 1)
    end
end

local function read_array(text, at)
    local array, count = {}, 0
    local stop = read_members(text, at, "]", function(from)
        count = count + 1
        local value, to = read_value(text, from)
        array[count] = value
        return to
    end)
    return array, stop
end

local function read_object(text, at)
    local object = {}
    local stop = read_members(text, at, "}", function(from)
        assert(text:sub(from, from) == '"', "no name at " .. from)
        local name, to = read_string(text, from)
        to = skip(text, to)
        assert(text:sub(to, to) == ":", "no colon at " .. to)
        object[name], to = read_value(text, to + 1)
        return to
    end)
    return object, stop
end

function read_value(text, at)
    at = skip(text, at)
    local first = text:sub(at, at)
    if first == "{" then return read_object(text, at) end
    if first == "[" then return read_array(text, at) end
    if first == '"' then return read_string(text, at) end
    local word = assert(text:match("^[%w.+-]+", at), "no value at " .. at)
    if first:find "[%d-]" then return assert(tonumber(word), "no number at " .. at), at + #word end
    assert(LITERALS[word] ~= nil or word == "null", "no value at " .. at)
    return LITERALS[word], at + #word
end

return function(text)
    local value, stop = read_value(text, 1)
    assert(skip(text, stop) > #text, "something behind the value")
    return value
end
