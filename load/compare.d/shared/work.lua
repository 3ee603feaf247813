-- What the heavy handler of every Lua server does. The caller says how many turns are 20 ms of CPU here; `x` goes
-- into the reply, so that no compiler can leave the loop out. The sum stays below 2^53: in floating point, as in
-- LuaJIT, it is the same as in integers.

local work = {}

function work.burn(turns)
    local x = 1
    for i = 1, turns do
        x = (x * 31 + i) % 4294967296
    end
    return { turns = turns, x = x }
end

return work
