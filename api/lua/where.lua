-- Places in the app's files, for messages that name the line to look at.
--
-- Our own chunks stand between that line and the code that finds the fault, metamethods and tail calls
-- included, so a fixed error level would often be wrong. The stack is searched for the first Lua function
-- that is not ours. Only definitions and errors come here, never a request that goes well.

local error, getinfo, huge, sub = error, debug.getinfo, math.huge, string.sub

local ours = {}

-- Every chunk of ours that calls code below names itself once: where.hide(debug.getinfo(1, "S").source).
local function hide(source)
    ours[source] = true
end

hide(getinfo(1, "S").source)

local function is_ours(info)
    return ours[info.source] == true
end

local function caller()
    for level = 2, huge do
        local info = getinfo(level, "Sl")
        if not info or (info.what ~= "C" and not is_ours(info)) then
            return info
        end
    end
end

-- The file's whole name: Lua's own messages cut a long one at the front.
local function name_of(info)
    return sub(info.source, 1, 1) == "@" and sub(info.source, 2) or info.short_src
end

local function format(info, line)
    if not info or line < 0 then
        return "?"
    end
    return name_of(info) .. ":" .. line
end

-- The line that the app is at.
local function here()
    local info = caller()
    return format(info, info and info.currentline)
end

-- The first line of the statement that gives `fn` a role. In `api.x.get = function(ctx) ... end` Lua reports
-- the line of the `end`; a function written in that very statement tells where it began.
local function statement(fn)
    local info = caller()
    local line = info and info.currentline
    local made = getinfo(fn, "S")
    if info and made.source == info.source and made.lastlinedefined == line then
        line = made.linedefined
    end
    return format(info, line)
end

-- Raise `message` at the place `at`, by default the line that the app is at. After a tail call, as in
-- `return task.run(...)`, that is not known.
local function raise(message, at)
    at = at or here()
    error(at == "?" and message or at .. ": " .. message, 0)
end

-- For functions of modules that define something: what check.lua has in its place notes a mistake and goes on.
local function guard(fn)
    return fn
end

return {
    guard = guard,
    hide = hide,
    is_ours = is_ours,
    name_of = name_of,
    here = here,
    statement = statement,
    raise = raise,
}
