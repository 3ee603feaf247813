-- The places of the path tree, and what was defined at each.
--
-- A place is reached by segments from the root, whether they were written as api.users.p_id or as
-- "/users/:id": the same segments are the same place, so hooks hold for both and a route given twice is seen.
-- Faults are returned (nil, why), not raised; `why` names the line of the other definition.

local ipairs, next = ipairs, next
local format = string.format

local function root()
    local children = { literal = {}, param = {}, rest = {} }
    return { depth = 0, children = children, named = {}, handlers = {}, hooks = {} }
end

local function child(parent, segment)
    local known = parent.children[segment.kind][segment.name]
    if known then
        return known
    end
    local above = parent.segment
    if above and above.kind == "rest" then
        return nil, format('"%s" takes the rest of the path, so nothing can follow it', above.name)
    end
    local made = root()
    made.parent, made.segment, made.depth = parent, segment, parent.depth + 1
    parent.children[segment.kind][segment.name] = made
    return made
end

-- The segments from the root to a place.
local function segments(place)
    local list = {}
    while place.segment do
        list[place.depth], place = place.segment, place.parent
    end
    return list
end

-- A parameter's name is settled by the first definition at or below it; reading a node settles nothing.
local function settle_name(place, where)
    local kind, name = place.segment.kind, place.segment.name
    local first = place.parent.named[kind]
    if not first then
        place.parent.named[kind] = { name = name, where = where }
    elseif first.name ~= name then
        return nil, format('the parameter "%s" is called "%s" at %s', name, first.name, first.where)
    end
    return true
end

local function settle_names(place, where)
    local seen = {}
    while place.segment do
        if place.segment.kind ~= "literal" then
            local name = place.segment.name
            if seen[name] then
                return nil, format('two parameters of one path are called "%s"', name)
            end
            seen[name] = true
            local ok, why = settle_name(place, where)
            if not ok then
                return nil, why
            end
        end
        place = place.parent
    end
    return true
end

local function put(slots, name, entry)
    local first = slots[name]
    if first then
        return nil, "it is defined already, at " .. first.where
    end
    slots[name] = entry
    return true
end

local function add_handler(place, method, entry)
    -- "/" and a single empty segment would be the same path, and the first is the root's.
    if place.depth == 1 and place.segment.kind == "literal" and place.segment.name == "" then
        return nil, 'the path "/" is the root\'s own, as in api.get'
    end
    local ok, why = settle_names(place, entry.where)
    if not ok then
        return nil, why
    end
    return put(place.handlers, method, entry)
end

local function add_hook(place, name, entry)
    local ok, why = settle_names(place, entry.where)
    if not ok then
        return nil, why
    end
    return put(place.hooks, name, entry)
end

-- The hooks called `name` that hold at a place, innermost first.
local function hooks_of(place, name)
    local list = {}
    while place do
        local entry = place.hooks[name]
        list[#list + 1] = entry and entry.fn
        place = place.parent
    end
    return list
end

-- The limits that hold at a place: of each kind the nearest.
local function limits_of(place)
    local limits = {}
    while place do
        local entry = place.hooks.limits
        for kind, value in next, entry and entry.fn or limits do
            if limits[kind] == nil then
                limits[kind] = value
            end
        end
        place = place.parent
    end
    return limits
end

local function reversed(list)
    local turned = {}
    for i, one in ipairs(list) do
        turned[#list + 1 - i] = one
    end
    return turned
end

-- before (outermost first), after and on_error (innermost first), as a request meets them.
local function chains(place)
    return reversed(hooks_of(place, "before")), hooks_of(place, "after"), hooks_of(place, "on_error")
end

return {
    root = root,
    child = child,
    segments = segments,
    add_handler = add_handler,
    add_hook = add_hook,
    chains = chains,
    limits_of = limits_of,
}
