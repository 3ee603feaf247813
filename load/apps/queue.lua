-- Messages through the queue in memory, from one VM to another: load/queue_rate runs it.
--   GET /push?n=N[&all=1][&rate=R]   push N small tables: a call each, or 64 in a call; R a second in place of as fast
--                                    as it goes
--   GET /done                        how many were consumed, and of how many each 10 us from push to consumer took
local queue = require "poolsrv.queue"
local shared = require "poolsrv.shared"
local socket = require "socket" -- for its clock

local BATCH, STEP_S, STEPS = 64, 1e-5, 1000
local figures = shared.dict("figures", { max_bytes = "1m" })
local gettime, push, push_all = socket.gettime, queue.push, queue.push_all

queue.consume("numbers", { batch = BATCH }, function(messages)
    local now, took = gettime(), {}
    for _, message in ipairs(messages) do
        if message.at then
            local step = math.min((now - message.at) // STEP_S, STEPS)
            took[step] = (took[step] or 0) + 1
        end
    end
    for step, n in pairs(took) do
        figures:incr("took" .. math.tointeger(step), n, { init = 0 })
    end
    figures:incr("consumed", #messages, { init = 0 })
end)

local function push_one_by_one(n)
    for i = 1, n do
        push("numbers", { id = i, name = "widget", price = 9.99 })
    end
end

-- Batch by batch, each at its time if there is a rate.
local function push_batches(n, rate)
    local begin = gettime()
    for first = 1, n, BATCH do
        local list = {}
        while rate and gettime() < begin + first / rate do
        end
        local at = rate and gettime()
        for i = 1, BATCH do
            list[i] = { id = first + i, name = "widget", price = 9.99, at = at }
        end
        push_all("numbers", list)
    end
end

function api.push.get(ctx)
    local given = ctx:query()
    local n = tonumber(given.n)
    figures:flush()
    if given.all then
        push_batches(n, tonumber(given.rate))
    else
        push_one_by_one(n)
    end
    return { pushed = n }
end

function api.done.get()
    local took = {}
    for step = 0, STEPS do
        took[step + 1] = figures:get("took" .. step) or 0
    end
    return { consumed = figures:get("consumed") or 0, took = took }
end
