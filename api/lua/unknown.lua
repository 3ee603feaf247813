-- What stands for a value that a check cannot know: a module that did not load, the result of a mistaken call.
--
-- The chunk returns { value =, is =, taints = }.
--   value         a table that can be read, called, reckoned with and walked through like most values; what
--                 comes out is itself again
--   is(v)         whether v is that value
--   taints(text)  whether an error's text speaks of it: such an error is only a consequence
--
-- Lua's own errors call a value by the __name of its metatable, and tostring does so here: that is how an error
-- that comes of it is known. A loop that would never end with it ends with such an error too.

local error, find, rawequal, select, setmetatable, type = error, string.find, rawequal, select, setmetatable, type

local NAME = "poolsrv.unknown"
local TOUCHES_MAX = 100000

local value, touches = {}, 0

local function itself()
    return value
end

local function touched()
    touches = touches + 1
    if touches > TOUCHES_MAX then
        error(NAME .. " was asked without end", 0)
    end
    return value
end

-- A list of one, for ipairs.
local function index(_, key)
    if type(key) == "number" and key ~= 1 then
        return nil
    end
    return touched()
end

-- A loop `for x in unknown` calls with two nils at first, as hardly anybody else does; it ends at once.
local function call(_, ...)
    local state, control = ...
    if select("#", ...) == 2 and state == nil and control == nil then
        return nil
    end
    return touched()
end

local function nothing() end

local function walk()
    return nothing
end

local function no()
    return false
end

local function none()
    return 0
end

local function name()
    return NAME
end

setmetatable(value, {
    __name = NAME, __tostring = name, __index = index, __newindex = nothing, __call = call, __len = none,
    __pairs = walk, __close = nothing, __lt = no, __le = no, __concat = itself, __unm = itself, __bnot = itself,
    __add = itself, __sub = itself, __mul = itself, __div = itself, __idiv = itself, __mod = itself, __pow = itself,
    __band = itself, __bor = itself, __bxor = itself, __shl = itself, __shr = itself,
})

local function is(v)
    return rawequal(v, value)
end

local function taints(text)
    return find(text, NAME, 1, true) ~= nil
end

return { value = value, is = is, taints = taints }
