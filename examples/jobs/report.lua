-- The nightly report: what was done since the last one, and what waits. From counters that all VMs of the server share.

local files = require "files"
local queue = require "poolsrv.queue"
local shared = require "poolsrv.shared"

local counts = shared.dict "counts"
local NAMES = { "mails", "thumbnails", "failures" }

local report = {}

function report.count(name)
    counts:incr(name)
end

-- What is taken is subtracted, so what is counted meanwhile is in the next report.
local function take(name)
    local n = counts:get(name) or 0
    if n > 0 then counts:incr(name, -n) end
    return n
end

function report.write(due)
    local lines = { os.date("!Report of %Y-%m-%d %H:%M UTC", math.floor(due)) }
    for _, name in ipairs(NAMES) do
        lines[#lines + 1] = ("%s: %d"):format(name, take(name))
    end
    for _, one in ipairs(queue.stats()) do
        lines[#lines + 1] = ("%s: %d wait"):format(one.queue, one.ready + one.delayed)
    end
    local text = table.concat(lines, "\n") .. "\n"
    files.write(files.path("reports", os.date("!%Y-%m-%d", math.floor(due)) .. ".txt"), text)
    files.write(files.path("reports", "latest.txt"), text)
end

function report.latest()
    return files.read(files.path("reports", "latest.txt")) or "none yet\n"
end

return report
