-- Names and patterns into segments, and back.
--
-- A segment is { kind = "literal" | "param" | "rest", name = bytes }. A literal has the bytes of the decoded
-- path. The tree's keys are such bytes; patterns are URL text and are decoded: api["a b"] is "/a%20b", and a
-- literal that begins with ":" or "*" is written "%3A..." or "%2A...". Faults are returned (nil, why), not
-- raised.

local byte, char, find, format = string.byte, string.char, string.find, string.format
local gmatch, gsub, sub = string.gmatch, string.gsub, string.sub
local concat, ipairs, tonumber = table.concat, ipairs, tonumber

local MARK = { literal = "", param = ":", rest = "*" }
local BY_KEY = { p_ = "param", s_ = "rest" }
local BY_SIGN = { [":"] = "param", ["*"] = "rest" }

-- A parameter is a whole segment, so ":id.json" is a mistake and not a parameter of that name.
local function parameter(kind, name, example)
    if name == "" then
        return nil, "a parameter needs a name, as in " .. example
    end
    if find(name, "[^%w_\x80-\xff-]") then
        return nil, "a parameter's name is made of letters, digits, '_' and '-', as in " .. example
    end
    return { kind = kind, name = name }
end

local function literal(name)
    if find(name, "\0", 1, true) then
        return nil, "a segment has no NUL byte: such a path is refused"
    end
    return { kind = "literal", name = name }
end

local function decoded(digits)
    return char(tonumber(digits, 16))
end

local function literal_of_text(text)
    if find(text, "[?#]") then
        return nil, 'a path ends where a "?" or "#" stands; as a part of it they are written "%3F" and "%23"'
    end
    if find(gsub(text, "%%%x%x", ""), "%", 1, true) then
        return nil, 'a "%" is followed by two hexadecimal digits'
    end
    return literal((gsub(text, "%%(%x%x)", decoded)))
end

-- The segment that `api.key` stands for: p_x takes one segment, s_x the rest, all else is literal.
local function segment(key)
    local prefix = sub(key, 1, 2)
    local kind = BY_KEY[prefix]
    if kind then
        return parameter(kind, sub(key, 3), prefix .. "name")
    end
    if find(key, "/", 1, true) then
        return nil, 'a segment has no "/": write one node a segment, or api.route(method, path, fn)'
    end
    return literal(key)
end

-- The segments of "/users/:id/*rest". "/" has none; "/users/" ends in an empty one.
local function segments(pattern)
    if sub(pattern, 1, 1) ~= "/" then
        return nil, 'a path begins with "/"'
    end
    local list = {}
    if pattern == "/" then
        return list
    end
    for part in gmatch(pattern, "/([^/]*)") do
        local sign = sub(part, 1, 1)
        local kind = BY_SIGN[sign]
        local made, why
        if kind then
            made, why = parameter(kind, sub(part, 2), sign .. "name")
        else
            made, why = literal_of_text(part)
        end
        if not made then
            return nil, why
        end
        list[#list + 1] = made
    end
    return list
end

local function encoded(c)
    return format("%%%02X", byte(c))
end

-- The pattern that `segments` reads as this list.
local function pattern_of(list)
    local parts = {}
    for i, one in ipairs(list) do
        local name = one.name
        if one.kind == "literal" then
            name = gsub(gsub(name, "[%c %%/?#]", encoded), "^[:*]", encoded)
        end
        parts[i] = "/" .. MARK[one.kind] .. name
    end
    return #parts == 0 and "/" or concat(parts)
end

return { segment = segment, segments = segments, pattern_of = pattern_of }
