-- The table `api` while the app loads: reading it walks the path tree, assigning a function defines.
--
-- The chunk returns make(helpers, native) -> { root =, finish = }.
--   helpers  the reply helpers as functions: json, text, html, redirect, error, status.
--   native   what the chunks where.lua, suggest.lua, path.lua, places.lua, definition.lua and freeze.lua
--            return, each under its file's name. No C function is needed. A `guard` beside them is put round
--            what the app calls, and may catch what is raised there.
--   root     becomes the global `api` before the app runs.
--   finish() ends the loading and returns the definition:
--     routes       { method = "GET", segments = { { kind = "literal"|"param"|"rest", name = }... },
--                  fn =, heavy = bool, where = "app.lua:12", before = { outermost... },
--                  after = { innermost... }, on_error = { innermost... },
--                  limits = { cpu = s, wall = s, memory = bytes } }..., in the order of definition
--     config       option -> value, all calls of api.config merged (the later wins), or nil without a call
--     config_where option -> "file:line" of the call that set it
--     on_start, on_stop   { fn =, each = "process"|"vm", where = }..., in the order of the calls
--     frozen       the global `api` from now on: the root itself, turned into plain helpers
--
-- `where` is always the first line of the statement that defines: a handler may have been written elsewhere.
-- A segment has the bytes of the decoded path; an empty one stands for a slash: api.users[""].get is
-- GET /users/. A node is an empty table, so that reading any name reaches us; what we know of it lies beside
-- it, in `known`.

local concat, find, format, gsub, upper = table.concat, string.find, string.format, string.gsub, string.upper
local error, ipairs, pcall, setmetatable, tostring, type = error, ipairs, pcall, setmetatable, tostring, type
local source = debug.getinfo(1, "S").source

local METHODS = { "get", "post", "put", "patch", "delete", "head", "options" }
local HOOKS = { "before", "after", "on_error" }
local REPLIES = { "json", "text", "html", "redirect", "error", "status" }
local LOADERS = { "heavy", "route", "config", "on_start", "on_stop" }

local function joined(a, b)
    local list = {}
    for _, names in ipairs({ a, b }) do
        for _, name in ipairs(names) do
            list[#list + 1] = name
        end
    end
    return list
end

local function set_of(names)
    local set = {}
    for _, name in ipairs(names) do
        set[name] = true
    end
    return set
end

local ROLES, HELPERS = joined(joined(METHODS, HOOKS), { "limits" }), joined(REPLIES, LOADERS)
local IS_METHOD, IS_HOOK, IS_HELPER = set_of(METHODS), set_of(HOOKS), set_of(HELPERS)
local ROLES_TEXT = format("a method (%s) or a hook (%s)", concat(METHODS, ", "), concat(HOOKS, ", "))
local KEYWORD = set_of({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
    "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
})

-- An expression of the tree as the app would write it: api.users, api["a-b"].
local function title_of(parent, key)
    if type(key) ~= "string" then
        return format("%s[%s]", parent, tostring(key))
    elseif find(key, "^[%a_][%w_]*$") and not KEYWORD[key] then
        return parent .. "." .. key
    end
    return format("%s[%s]", parent, (gsub(format("%q", key), "\\\n", "\\n")))
end

local function unguarded(fn)
    return fn
end

local function meant(near)
    return near and format('; did you mean "%s"?', near) or ""
end

-- What a node of a helper does when called. The protected call is for the message: a C function called
-- straight from here would blame this file and not the app's line.
local function reply_helper(name, helper, raise)
    local function passed(ok, first, ...)
        if ok then
            return first, ...
        elseif type(first) ~= "string" then
            error(first, 0)
        end
        raise((gsub(first, "'%?'", "'" .. name .. "'", 1)))
    end
    return function(...)
        return passed(pcall(helper, ...))
    end
end

return function(helpers, native)
    local where, suggest, path, places = native.where, native.suggest, native.path, native.places
    local definition = native.definition(native)
    local raise, guard = where.raise, native.guard or unguarded
    where.hide(source)

    local known = {} -- node -> { title, key, place, children = { key -> node }, is_helper = bool }
    local called = {} -- name of a helper -> what its node does when called
    local meta = { __name = "api node" }

    local function new_node(title, key, place)
        local node = setmetatable({}, meta)
        local is_helper = place.parent == definition.root and IS_HELPER[key]
        known[node] = { title = title, key = key, place = place, children = {}, is_helper = is_helper }
        return node
    end

    local root = new_node("api", nil, definition.root)

    local function check_key(self, key)
        if type(key) ~= "string" then
            raise(format("%s: a path segment is a string, not a %s", title_of(self.title, key), type(key)))
        end
    end

    local function new_child(self, key)
        check_key(self, key)
        local title = title_of(self.title, key)
        local segment, why = path.segment(key)
        local place
        if segment then
            place, why = places.child(self.place, segment)
        end
        if not place then
            raise(title .. ": " .. why)
        end
        return new_node(title, key, place)
    end

    local function refuse_role(self, key, value)
        local title, fn = title_of(self.title, key), definition.handler_of(value)
        local at = fn and where.statement(fn)
        if self.place == definition.root and IS_HELPER[key] then
            raise(format("%s is called, as in %s(...), not assigned", title, title), at)
        end
        local hint = meant(suggest(key, ROLES))
        if hint == "" and fn then
            hint = format("; a handler for GET is %s.get", title)
        end
        raise(format("%s: a handler is assigned to %s%s", title, ROLES_TEXT, hint), at)
    end

    local function refuse_call(self)
        local title, name, depth = self.title, self.key, self.place.depth
        if depth == 0 then
            raise("api itself cannot be called, only its helpers, as in api.json(...)")
        elseif IS_HELPER[name] then
            raise(format("%s is a path segment, not a helper; did you mean api.%s(...)?", title, name))
        elseif depth == 1 and IS_METHOD[name] then
            local call = format('api.route("%s", path, fn)', upper(name))
            raise(format("%s is not called: write function %s(ctx), or %s", title, title, call))
        elseif name == "limits" then
            raise(format("%s is not called: write %s = { cpu = 1 }", title, title))
        elseif depth == 1 then
            raise(format("%s: no such helper%s", title, meant(suggest(name, HELPERS))))
        end
        raise(title .. " is a path segment, it cannot be called")
    end

    meta.__index = guard(function(node, key)
        local self = known[node]
        local child = self.children[key]
        if not child then
            child = new_child(self, key)
            self.children[key] = child
        end
        return child
    end)

    meta.__newindex = guard(function(node, key, value)
        local self = known[node]
        check_key(self, key)
        if IS_METHOD[key] then
            definition.add_route(title_of(self.title, key), self.place, upper(key), value)
        elseif IS_HOOK[key] then
            definition.add_hook(title_of(self.title, key), self.place, key, value)
        elseif key == "limits" then
            definition.add_limits(title_of(self.title, key), self.place, value)
        else
            refuse_role(self, key, value)
        end
    end)

    meta.__call = guard(function(node, ...)
        local self = known[node]
        if not self.is_helper then
            refuse_call(self)
        end
        return called[self.key](...)
    end)

    function meta.__tostring(node)
        return known[node].title
    end

    for _, name in ipairs(REPLIES) do
        called[name] = reply_helper(name, helpers[name], raise)
    end
    for _, name in ipairs(LOADERS) do
        called[name] = definition[name]
    end

    -- Nodes that the app keeps are of use as helpers only; the rest of the tree must not grow with requests.
    local function close_nodes()
        function meta.__index(node, key)
            raise(title_of(known[node].title, key) .. ": routes can be named only while the app loads")
        end
        function meta.__newindex(node, key)
            raise(title_of(known[node].title, key) .. ": routes are defined while the app loads")
        end
    end

    local function finish()
        local result = definition.finish()
        local frozen = {}
        for _, name in ipairs(REPLIES) do
            frozen[name] = helpers[name]
        end
        for _, name in ipairs(LOADERS) do
            frozen[name] = function()
                raise(format("api.%s: only while the app loads", name))
            end
            called[name] = frozen[name]
        end
        close_nodes()
        result.frozen = native.freeze(root, frozen, HELPERS, native)
        return result
    end

    return { root = root, finish = finish }
end
