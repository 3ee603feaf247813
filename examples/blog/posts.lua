-- What people write. Titles and bodies are any text: they are bound, so no text can change a statement.

local db = require "db"

local TITLE_MAX = 200 -- characters
local BODY_MAX = 100000

local COLUMNS = "posts.id, posts.user_id, users.name AS author, posts.title, posts.body, posts.created_at"
local FROM = " FROM posts JOIN users ON users.id = posts.user_id "

local posts = {}

-- What is wrong with a text, or nil. A NUL is refused because lua-dbi would cut the text there when it is read.
local function text_fault(text, max)
    if type(text) ~= "string" then return "is required" end
    local length = utf8.len(text)
    if not length then return "is not UTF-8" end
    if text:find("\0", 1, true) then return "must not contain NUL" end
    if not text:find "%S" then return "is empty" end
    if length > max then return "is longer than " .. max .. " characters" end
end

-- What is wrong with a post, by field; nil when it is fine. Of a change, only the fields that are given matter.
function posts.faults(post, is_change)
    if type(post) ~= "table" then return { title = "is required", body = "is required" } end
    local faults = {
        title = not (is_change and post.title == nil) and text_fault(post.title, TITLE_MAX) or nil,
        body = not (is_change and post.body == nil) and text_fault(post.body, BODY_MAX) or nil,
    }
    return next(faults) and faults
end

function posts.by_id(id)
    return db.one("SELECT " .. COLUMNS .. FROM .. "WHERE posts.id = ?", id)
end

function posts.create(user_id, post)
    return db.transaction(function()
        local id = db.one("INSERT INTO posts (user_id, title, body) VALUES (?, ?, ?) RETURNING id",
            user_id, post.title, post.body).id
        return posts.by_id(id)
    end)
end

-- The changed post; nil when there is none of this id.
function posts.change(id, change)
    return db.transaction(function()
        db.run("UPDATE posts SET title = coalesce(?, title), body = coalesce(?, body) WHERE id = ?",
            change.title, change.body, id)
        return posts.by_id(id)
    end)
end

function posts.delete(id)
    db.run("DELETE FROM posts WHERE id = ?", id)
end

-- The newest first, and only those before the post `before` when it is given: the last id of a page asks for the
-- next one, which costs the same however far back it is.
function posts.recent(limit, before)
    return db.rows("SELECT " .. COLUMNS .. FROM .. "WHERE ?1 IS NULL OR posts.id < ?1 ORDER BY posts.id DESC LIMIT ?2",
        before, limit)
end

function posts.by_user(user_id, limit, before)
    return db.rows("SELECT " .. COLUMNS .. FROM ..
        "WHERE posts.user_id = ?1 AND (?2 IS NULL OR posts.id < ?2) ORDER BY posts.id DESC LIMIT ?3",
        user_id, before, limit)
end

return posts
