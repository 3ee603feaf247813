-- The global `api` after loading: helpers only, read-only, and quick to misspelling.
--
-- freeze(api, helpers, names, native) turns the loading root itself into that table, so a `local api = api`
-- kept from the app's first line is the same thing as the global. Each helper is the plain function: reading
-- api.json follows two tables and calls nothing. `helpers` becomes part of the result; `names` lists the
-- helpers for suggestions.

local getinfo, format = debug.getinfo, string.format
local setmetatable, tostring, type = setmetatable, tostring, type
local source = getinfo(1, "S").source

return function(api, helpers, names, native)
    local where, suggest = native.where, native.suggest
    where.hide(source)

    local function missing(_, key)
        local near = type(key) == "string" and suggest(key, names)
        local hint = near and format('; did you mean "%s"?', near) or ""
        where.raise(format("api.%s: no such helper%s", tostring(key), hint))
    end

    local function refuse(_, key)
        local name = tostring(key)
        where.raise(format("api.%s: routes are defined while the app loads; it is read-only now", name))
    end

    setmetatable(helpers, { __index = missing })
    return setmetatable(api, { __index = helpers, __newindex = refuse, __name = "api" })
end
