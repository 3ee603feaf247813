-- What /json/1k and /json/64k send: a list of alike items, each of 63 bytes as JSON. The wrk scripts make the
-- same table to compare with, so this must run in LuaJIT too.

local COLOURS = { "blue", "pink", "grey", "gold" }

local payload = {}

function payload.items(count)
    local items = {}
    for i = 1, count do
        items[i] = {
            id = 1000 + i,
            name = "item " .. 1000 + i,
            stock = 10 + i % 90,
            tags = { "new", COLOURS[i % 4 + 1] },
        }
    end
    return { items = items }
end

payload.items_1k = 16
payload.items_64k = 1024

return payload
