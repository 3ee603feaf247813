-- Finding every problem of an app, where loading it plainly ends at the first.
--
-- new(native) -> a table of functions. `native` is what tree.lua is given, and `unknown` beside it; new changes
-- it, so that a tree made with it afterwards notes mistakes and goes on.
--   run(path)            run the app's file; whatever happens in it is noted
--   require, dofile      what the app is to see under these names: a file that fails is noted
--   finish(definition)   drop the options whose values are unknown
--   problems             the list, "app.lua:12: api.users.gett: ..." each, as they were found
--
-- The app goes on with an unknown value (unknown.lua) in place of what it did not get, and errors that come of
-- that are left out. A mistake that the app would have caught itself, in a pcall of its own, is raised as ever.

local dofile, error, getmetatable, loadfile, pcall, require = dofile, error, getmetatable, loadfile, pcall, require
local getinfo, loaded, next, select, setmetatable = debug.getinfo, package.loaded, next, select, setmetatable
local tostring, type, xpcall = tostring, type, xpcall
local gsub, match = string.gsub, string.match
local source = getinfo(1, "S").source

-- How far up the stack one looks: a runaway recursion is deep.
local LEVELS_MAX = 1000

-- What is raised in place of a text, so that nothing else is taken for it: { at = "app.lua:12" or nil, message }.
local problem = { __name = "poolsrv.problem" }

local function new_problem(at, message)
    return setmetatable({ at = at, message = message }, problem)
end

local function is_problem(value)
    return getmetatable(value) == problem
end

local function text_of(p)
    return (p.at and p.at .. ": " or "") .. gsub(p.message, "%s*\n%s*", " ")
end

return function(native)
    local where, unknown = native.where, native.unknown
    local problems = {}
    where.hide(source)

    local function note(p)
        local text = text_of(p)
        if not unknown.taints(text) then
            problems[#problems + 1] = text
        end
    end

    -- The line that the app is at; nil where it has not begun.
    local function here()
        local at = where.here()
        return at ~= "?" and at or nil
    end

    -- Would the app itself catch what is raised here? Our own protected calls do not count.
    local function is_caught()
        for level = 2, LEVELS_MAX do
            local info = getinfo(level, "f")
            if not info then
                return false
            elseif info.func == pcall or info.func == xpcall then
                local caller = getinfo(level + 1, "S")
                return not (caller and where.is_ours(caller))
            end
        end
        return false
    end

    -- --- mistakes in the tree ---

    local function has_unknown(...)
        for i = 1, select("#", ...) do
            if unknown.is((select(i, ...))) then
                return true
            end
        end
        return false
    end

    local function settle(excused, ok, first, ...)
        if ok then
            return first, ...
        elseif not is_problem(first) then
            error(first, 0)
        elseif excused then
            return unknown.value
        elseif is_caught() then
            error(text_of(first), 0)
        end
        note(first)
        return unknown.value
    end

    local function guard(fn)
        return function(...)
            return settle(has_unknown(...), pcall(fn, ...))
        end
    end

    local function raise(message, at)
        local p = new_problem(at or here(), message)
        error(is_caught() and text_of(p) or p, 0)
    end

    -- --- files that fail ---

    -- The place at the front of a text that Lua made. Lua cuts the name of a file that is long.
    local function place_in(text)
        local file, line, rest = match(text, "^([^\n]-):(%d+): (.*)$")
        for level = 2, file and LEVELS_MAX or 0 do
            local info = getinfo(level, "S")
            if not info then
                break
            elseif info.short_src == file then
                return where.name_of(info) .. ":" .. line, rest
            end
        end
    end

    -- Text of the compiler, or the reason why a file cannot be read.
    local function syntax_problem(path, text)
        local line, rest = match(text, "^[^\n]-:(%d+): (.*)$")
        if line then
            return new_problem(path .. ":" .. line, rest)
        end
        return new_problem(here(), text)
    end

    local function require_problem(text)
        local path, why = match(text, "^error loading module '[^\n]*' from file '([^\n]*)':\n\t(.*)$")
        if path then
            return syntax_problem(path, why)
        end
        local missing = match(text, "^(module '[^\n]*' not found):")
        return missing and new_problem(here(), missing)
    end

    local function text_of_error(value)
        local kind, mt = type(value), getmetatable(value)
        if kind == "string" or kind == "number" then
            return tostring(value)
        elseif type(mt) == "table" and mt.__tostring then
            local ok, text = pcall(tostring, value)
            return ok and text or "error object is a " .. kind
        end
        return "error object is a " .. kind
    end

    -- The message handler: here the stack still shows where it was.
    local function described(value)
        if is_problem(value) then
            return value
        end
        local text = text_of_error(value)
        local known = require_problem(text)
        if known then
            return known
        end
        local at, rest = place_in(text)
        return new_problem(at or here(), at and rest or text)
    end

    local function outcome(ok, first, ...)
        if ok then
            return first, ...
        end
        note(is_problem(first) and first or new_problem(here(), text_of_error(first)))
        return unknown.value
    end

    local function attempt(fn, ...)
        return outcome(xpcall(fn, described, ...))
    end

    -- The call of the chunk is a tail call, so that is_caught sees no frame of ours below a pcall of the app's.
    local function run_file(path)
        local chunk, why = loadfile(path)
        if not chunk then
            error(syntax_problem(path, why), 0)
        end
        return chunk()
    end

    local function run(path)
        attempt(run_file, path)
    end

    local function checked_dofile(path)
        if path == nil or is_caught() then
            return dofile(path)
        end
        return attempt(run_file, path)
    end

    -- One that failed is not run again.
    local function checked_require(name)
        if is_caught() then
            return require(name)
        end
        local module, data = attempt(require, name)
        if unknown.is(module) and type(name) == "string" then
            loaded[name] = module
        end
        return module, data
    end

    local function finish(definition)
        local config = definition.config or {}
        for name, value in next, config do
            if unknown.is(value) then
                config[name] = nil
            end
        end
        return definition
    end

    native.where = {
        guard = guard,
        hide = where.hide,
        here = where.here,
        statement = where.statement,
        raise = raise,
    }
    native.guard = guard

    return {
        run = run,
        require = checked_require,
        dofile = checked_dofile,
        finish = finish,
        problems = problems,
    }
end
