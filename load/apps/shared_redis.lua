-- For load/shared_redis: one handler reads or writes a dictionary in Redis so many times, one after the other.
local shared = require "poolsrv.shared"
local d = shared.dict("load", { store = os.getenv("LOAD_STORE") })

function api.read.get(ctx)
    for _ = 1, tonumber(ctx:query().n) do
        d:get("key")
    end
end

function api.write.get(ctx)
    for _ = 1, tonumber(ctx:query().n) do
        d:set("key", "value")
    end
end
