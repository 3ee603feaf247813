-- One app on several machines: orders come in by any node, are worked on by any node, and each second one of the nodes
-- ticks. What all nodes have to agree on is in Redis: the queue, the clock's claims, and the records below.

local queue = require "poolsrv.queue"
local redis = require "redis"
local task = require "poolsrv.task"

local NODE = os.getenv "NODE" or "node"
local LEASE = os.getenv "CLUSTER_LEASE" or "10s"
local TICKS_MAX = 3600

-- Redis may be away for a while, so there are many tries.
queue.consume("orders", { concurrency = 4, retries = 20, delay = "100ms", max_delay = "10s", lease = LEASE },
    function(order, job)
        sleep(order.takes or 0)
        -- A job may run twice: when its node ends before the queue knows that it is done. So what it does is to be
        -- the same when it is done again, as this is; the count only shows how often that was.
        redis("HSET", "orders:done", job.id, NODE)
        redis("HINCRBY", "orders:runs", job.id, 1)
    end)

-- Each moment on one node; the first that claims it. When that node ends in the middle the moment is lost, so a tick
-- only does what may be left out, or pushes a message for the rest.
task.every("1s", function(due)
    redis("RPUSH", "ticks", ("%d %s"):format(math.floor(due), NODE))
    redis("LTRIM", "ticks", -TICKS_MAX, -1)
end, { name = "tick", timeout = "10s" })

-- Every reply says who gave it.
function api.after(_, reply)
    reply:header("x-node", NODE)
end

-- { id, takes }: the client makes the id. When it gets no answer it may ask again, at any node: within an hour the same
-- id is not pushed again.
function api.orders.post(ctx)
    local order = ctx:json()
    if type(order) ~= "table" or type(order.id) ~= "string" or not order.id:find "^[%w-]+$" or #order.id > 64 then
        return api.error(422, "Not an order", { id = "1 to 64 letters, digits and '-'" })
    end
    local takes = math.type(order.takes) and math.min(math.max(order.takes, 0), 10) or 0
    local id, why, code = queue.try_push("orders", { takes = takes }, { id = order.id, window = "1h" })
    if not id then return api.error(503, ("The queue does not take it (%s): %s"):format(code, why)) end
    return api.json({ id = id }, 202)
end

function api.orders.p_id.get(ctx)
    local node = redis("HGET", "orders:done", ctx:params().id)
    return { done = node ~= nil, node = node }
end

function api.get()
    local orders = queue.stats "orders"
    return { node = NODE, orders = orders, done = redis("HLEN", "orders:done"), ticks = redis("LLEN", "ticks") }
end
