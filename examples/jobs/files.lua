-- The folder in which the example keeps what it is given and what it makes.

local _, file = ...
local here = file and file:match "^(.*)/[^/]*$" or "."
local folder = os.getenv "JOBS_DIR" or here .. "/var"

local files = { folder = folder }

-- Names that no other VM uses, in whatever process.
local random <close> = assert(io.open("/dev/urandom", "rb"))
random:setvbuf "no"
local mark, count = ("%x"):format(("I8"):unpack(random:read(8))), 0

-- Once a process, before the first request.
function files.prepare()
    local quoted = "'" .. folder:gsub("'", [['\'']]) .. "'"
    for _, kind in ipairs { "uploads", "thumbnails", "outbox", "reports" } do
        local path = folder .. "/" .. kind
        local is_there = os.rename(path, path)
        if not is_there then assert(os.execute(("mkdir -p %s/%s"):format(quoted, kind))) end
    end
end

function files.path(kind, name)
    return ("%s/%s/%s"):format(folder, kind, name)
end

-- Nil when there is no such file.
function files.read(path)
    local f <close> = io.open(path, "rb")
    return f and f:read "a"
end

-- Whole or not at all: whoever reads the file meanwhile sees the old one, or none. A job may be tried twice, or by
-- two at once for a moment, so its first name is nobody else's.
function files.write(path, bytes)
    count = count + 1
    local fresh = ("%s.%s-%d"):format(path, mark, count)
    local f = assert(io.open(fresh, "wb"))
    local written, fault = f:write(bytes)
    local closed, late_fault = f:close() -- a full disk may show only here
    if not (written and closed) then
        os.remove(fresh)
        error(fault or late_fault, 0)
    end
    assert(os.rename(fresh, path))
end

return files
