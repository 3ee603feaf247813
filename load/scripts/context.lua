-- wrk -t1 -c64 -d10 -s load/scripts/context.lua http://127.0.0.1:8080 -- CASE [check]
--
-- Sends one case of apps/context_requests.lua over and over. With "check" every reply is compared; without it
-- only its status, by wrk itself, so that wrk is as fast as it can be.

local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"
local requests = dofile(folder .. "../apps/context_requests.lua")
dofile(folder .. "finish.lua").install()

wrong = 0 -- a global, since that is what wrk can read from another thread

local function named(name)
    for _, case in ipairs(requests.cases) do
        if case.name == name then
            return case
        end
    end
    error("no case is called " .. tostring(name))
end

function init(args)
    local case = named(args[1])
    wrk.method = case.method
    wrk.path = case.target
    wrk.body = case.body
    for _, header in ipairs(requests.headers) do
        wrk.headers[header[1]] = header[2]
    end
    if args[2] ~= "check" then
        return
    end
    function response(status, _, body)
        if status == case.status and body == case.text then
            return
        end
        wrong = wrong + 1
        if wrong == 1 then
            io.stderr:write(("the first wrong reply: status %d: %s\n"):format(status, body:sub(1, 300)))
        end
    end
end
