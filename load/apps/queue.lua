-- Messages through a queue in memory, from one VM to another: load/queue_rate runs it.
--   GET /push?n=N      push N small tables, one call each
--   GET /done          how many were consumed, and when the first was pushed and the last consumed
local queue = require "poolsrv.queue"
local shared = require "poolsrv.shared"
local figures = shared.dict("figures", { max_bytes = "1m" })
local push, push_all = queue.push, queue.push_all

queue.consume("numbers", { batch = 64 }, function(messages)
    local n = figures:incr("consumed", #messages, { init = 0 })
    if n >= (figures:get("wanted") or 0) then
        figures:set("end", os.time())
    end
end)

function api.push.get(ctx)
    local n = tonumber(ctx:query().n)
    figures:set("consumed", 0)
    figures:set("wanted", n)
    if ctx:query().all then
        for first = 1, n, 64 do
            local list = {}
            for i = 1, 64 do
                list[i] = { id = first + i, name = "widget", price = 9.99 }
            end
            push_all("numbers", list)
        end
    else
        for i = 1, n do
            push("numbers", { id = i, name = "widget", price = 9.99 })
        end
    end
    return { pushed = n }
end

function api.done.get()
    return { consumed = figures:get("consumed") or 0 }
end
