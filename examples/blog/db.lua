-- One SQLite connection for each VM, and four ways to use it: run, one, rows, transaction.
--
-- Values are always bound, never pasted into the SQL. Every result is read to its end at once, so that no read
-- stays open behind a reply. A database error is raised, and becomes a 500 with its text in the log alone.

local DBI = require "DBI"

local _, file = ...
local folder = file and file:match "^(.*)/[^/]*$" or "."
local path = os.getenv "BLOG_DB" or folder .. "/blog.db"

local db = { path = path }

local connection
local statements = {} -- prepared, by their SQL

local function step(statement, ...)
    local ok, message = statement:execute(...)
    if not ok then return nil, message end
    local rows = {}
    local row = statement:fetch(true)
    while row do
        rows[#rows + 1] = row
        row = statement:fetch(true)
    end
    return rows
end

-- SQLite has one writer at a time. busy_timeout lets the others wait for their turn inside SQLite, where the
-- default is to fail at once. With WAL (see schema.lua) readers wait for nobody. synchronous = NORMAL never
-- corrupts the file, but a power failure may take the last moments with it.
local function connect()
    local message
    connection, message = DBI.Connect("SQLite3", path)
    if not connection then error(path .. ": " .. message, 0) end
    connection:autocommit(true)
    for _, pragma in ipairs { "busy_timeout = 15000", "foreign_keys = ON", "synchronous = NORMAL" } do
        local rows, fault = step(assert(connection:prepare("PRAGMA " .. pragma)))
        if not rows then error(path .. ": " .. fault, 0) end
    end
end

local function prepare(sql)
    local statement = statements[sql]
    if statement then return statement end
    if not connection then connect() end
    local message
    statement, message = connection:prepare(sql)
    if not statement then error(message .. " in: " .. sql, 0) end
    statements[sql] = statement
    return statement
end

-- All rows, each a table by column name; an empty list when there are none. A NULL is an absent field.
-- Integers come back as 32 bits, a limit of lua-dbi: keep times and larger numbers as text.
function db.rows(sql, ...)
    local statement = prepare(sql)
    local rows, message = step(statement, ...)
    if rows then return rows end
    -- lua-dbi reports an old failure once more when a failed statement is used again.
    statements[sql] = nil
    statement:close()
    error(message .. " in: " .. sql, 0)
end

-- The first row, or nil.
function db.one(sql, ...)
    return db.rows(sql, ...)[1]
end

-- For statements that yield nothing.
function db.run(sql, ...)
    db.rows(sql, ...)
end

local unfinished = false -- a transaction was begun and neither committed nor rolled back

local function rollback()
    pcall(db.run, "ROLLBACK") -- fails when SQLite has already done it
    unfinished = false
end

local function begin_and_commit(fn, ...)
    db.run "BEGIN IMMEDIATE"
    local results = table.pack(fn(...))
    db.run "COMMIT"
    return table.unpack(results, 1, results.n)
end

-- Runs fn(...) in a transaction and returns what it returns; an error rolls back and is raised again. IMMEDIATE
-- takes the write lock at the start: a transaction that reads first and writes later can fail however long it is
-- ready to wait. fn must not sleep or wait, since other handlers of this VM would then run inside its
-- transaction, and it must not begin another one.
function db.transaction(fn, ...)
    -- A handler that was stopped by a limit may have been stopped in its rollback too.
    if unfinished then rollback() end
    unfinished = true
    local results = table.pack(pcall(begin_and_commit, fn, ...))
    if not results[1] then
        rollback()
        error(results[2], 0)
    end
    unfinished = false
    return table.unpack(results, 2, results.n)
end

return db
