-- The tables, and how an older database gets them. PRAGMA user_version holds the number of steps already taken;
-- a change of the tables is a new step at the end, never an edit of an old one.

local db = require "db"

local steps = {
    {
        [[CREATE TABLE users (
            id         INTEGER PRIMARY KEY,
            name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
            token_hash TEXT NOT NULL UNIQUE,
            created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))]],

        -- AUTOINCREMENT: the id of a deleted post is never given to another one.
        [[CREATE TABLE posts (
            id         INTEGER PRIMARY KEY AUTOINCREMENT,
            user_id    INTEGER NOT NULL REFERENCES users (id),
            title      TEXT NOT NULL,
            body       TEXT NOT NULL,
            created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))]],
        [[CREATE INDEX posts_by_user ON posts (user_id, id)]],

        -- The words of the posts. The text itself stays in posts, and triggers keep the two in step.
        [[CREATE VIRTUAL TABLE posts_words USING fts5 (
            title, body, content = 'posts', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2')]],
        [[CREATE TRIGGER posts_added AFTER INSERT ON posts BEGIN
            INSERT INTO posts_words (rowid, title, body) VALUES (new.id, new.title, new.body);
        END]],
        [[CREATE TRIGGER posts_deleted AFTER DELETE ON posts BEGIN
            INSERT INTO posts_words (posts_words, rowid, title, body)
            VALUES ('delete', old.id, old.title, old.body);
        END]],
        [[CREATE TRIGGER posts_changed AFTER UPDATE ON posts BEGIN
            INSERT INTO posts_words (posts_words, rowid, title, body)
            VALUES ('delete', old.id, old.title, old.body);
            INSERT INTO posts_words (rowid, title, body) VALUES (new.id, new.title, new.body);
        END]],
    },
}

local schema = {}

local function nothing() end

-- With WAL one writes while others read. The mode stays with the file. To change it SQLite wants the file for
-- itself and does not wait for that, whatever busy_timeout says; an empty transaction does wait, for whoever is
-- in the way, and then it is tried again.
local function use_wal()
    local ok, message
    for _ = 1, 100 do
        ok, message = pcall(db.run, "PRAGMA journal_mode = WAL")
        if ok then return end
        db.transaction(nothing)
    end
    error(message, 0)
end

-- Brings the database to the newest form. Processes that do it at once take turns: each looks at user_version
-- only when it holds the write lock.
function schema.migrate()
    use_wal()
    db.transaction(function()
        local done = db.one("PRAGMA user_version").user_version
        if done > #steps then error("the database is of a newer blog: version " .. done, 0) end
        for i = done + 1, #steps do
            for _, sql in ipairs(steps[i]) do
                db.run(sql)
            end
        end
        db.run("PRAGMA user_version = " .. #steps)
    end)
end

return schema
