-- Work that nobody waits for: mails after a sign-up, thumbnails, a nightly report. See README.md for what to type.
--
-- A request puts a message into a queue and is answered; a consumer takes it when there is a thread for it, tries again
-- when it fails, and puts what fails for good among the dead letters. The server's --queue says where the queues are.

local files = require "files"
local image = require "image"
local mail = require "mail"
local page = require "page"
local queue = require "poolsrv.queue"
local report = require "report"
local task = require "poolsrv.task"

local WIDTHS = { 640, 320, 160, 80 }
local WORKING_MAX, DEAD_MAX = 20, 100

-- For tests and for playing: how soon a failed job is tried again, and when one is that was lost with its process.
local RETRY_DELAY = os.getenv "JOBS_RETRY_DELAY" or "30s"
local LEASE = os.getenv "JOBS_LEASE" or "30s"
local REPORT_AT = os.getenv "JOBS_REPORT_AT" or "0 3 * * *"
local ZONE = os.getenv "JOBS_ZONE" or "Europe/Berlin"

api.config { max_body = "8m" }
api.on_start(files.prepare)

-- Counts how a job ended.
local function counted(name, fn)
    return function(message, job)
        local ok, fault = pcall(fn, message, job)
        report.count(ok and name or "failures")
        if not ok then error(fault, 0) end
    end
end

-- Where the queue cannot take it now, the client is to come again.
local function push(name, message, options)
    local id, again = queue.try_push(name, message, options)
    if id then return id, again end
    error(api.error(503, "Try again later"))
end

-- ---- mails

-- A mail server that is away for an hour is no reason to lose a mail: eight retries take two hours.
local MAILS = { concurrency = 4, retries = 8, delay = RETRY_DELAY, max_delay = "1h", timeout = "60s", lease = LEASE }

queue.consume("mails", MAILS, counted("mails", function(user, job)
    mail.welcome(user, job.id)
end))

-- Who presses the button twice gets one mail: the id is the same for a day.
function api.signups.post(ctx)
    local new = ctx:json()
    local faults = mail.faults(new)
    if faults then return api.error(422, "Not a valid sign-up", faults) end
    local id, again = push("mails", { name = new.name, email = new.email },
        { id = "welcome-" .. new.email, window = "1d" })
    return api.json({ id = id }, again and 200 or 202)
end

-- ---- thumbnails

local function thumbnail_path(id, width)
    return files.path("thumbnails", ("%s-%d.bmp"):format(id, width))
end

-- What the job's thread does is little: the pictures are made one after the other by whatever heavy thread is free.
queue.consume("thumbnails", { concurrency = 2, retries = 2, delay = RETRY_DELAY, lease = LEASE },
    counted("thumbnails", function(message, job)
        for i, width in ipairs(WIDTHS) do
            task.run("image.thumbnail", files.path("uploads", message.file), thumbnail_path(message.file, width), width)
            job:progress(i / #WIDTHS)
        end
        os.remove(files.path("uploads", message.file))
    end))

-- The picture goes into a file, its name into the queue: messages are to be small.
function api.thumbnails.post(ctx)
    local bytes = ctx:body()
    local head, fault = image.head(bytes)
    if not head then return api.error(422, "The picture " .. fault) end
    local name = ctx.id:gsub("[^%w]", "")
    files.write(files.path("uploads", name), bytes)
    push("thumbnails", { file = name }, { id = name })
    return api.json({ id = name }, 202):header("location", "/thumbnails/" .. name)
end

-- A name that was given out, or nothing: it becomes part of a path.
local function name_of(ctx)
    local name = ctx:params().id
    return name:find "^%w+$" and name or error(api.error(404, "Not found"))
end

function api.thumbnails.p_id.get(ctx)
    local name, made = name_of(ctx), json.array {}
    for _, width in ipairs(WIDTHS) do
        local f <close> = io.open(thumbnail_path(name, width))
        if f then made[#made + 1] = ("/thumbnails/%s/%d"):format(name, width) end
    end
    return { id = name, done = #made == #WIDTHS, thumbnails = made }
end

function api.thumbnails.p_id.p_width.get(ctx)
    local width = math.tointeger(tonumber(ctx:params().width))
    local bytes = width and files.read(thumbnail_path(name_of(ctx), width))
    if not bytes then return api.error(404, "Not found, or not made yet") end
    return api.text(bytes):header("content-type", "image/bmp")
end

-- ---- the report

-- Each night at three, as the clock on the wall of that zone has it. When no server ran then, at the next start.
task.at(REPORT_AT, report.write, { zone = ZONE, missed = "once", name = "report" })

function api.reports.post()
    report.write(os.time())
    return api.status(204)
end

function api.reports.latest.get()
    return report.latest()
end

-- ---- what goes on

local function status()
    local now = { queues = queue.stats(), working = {}, dead = {} }
    for _, name in ipairs { "mails", "thumbnails" } do
        for _, one in ipairs(queue.peek(name, WORKING_MAX)) do
            one.queue = name
            if one.state == "taken" then table.insert(now.working, one) end
        end
        for _, one in ipairs(queue.peek(name .. ".dead", DEAD_MAX)) do
            table.insert(now.dead, one)
        end
    end
    for name, list in pairs(now) do
        now[name] = json.array(list)
    end
    return now
end

function api.get()
    return api.html(page.front(status(), report.latest()))
end

function api.status.get()
    return status()
end

function api.retry.post()
    queue.retry "mails.dead"
    queue.retry "thumbnails.dead"
    return api.redirect("/", 303)
end
