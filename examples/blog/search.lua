-- Posts by the words in them. FTS5 has a query language of its own (AND, NEAR, column:, *); what people type is
-- no query, so every word is quoted, and nothing they type is an error.

local db = require "db"

local WORDS_MAX = 16

local search = {}

-- 'blue "moon' becomes '"blue" """moon"*': all words must occur, the last one may be the beginning of a word.
local function quoted(text)
    local words = {}
    for word in text:gsub("\0", " "):gmatch "%S+" do
        -- Punctuation alone is no word to FTS5, and it would match nothing.
        if word:find "[%w\128-\255]" and #words < WORDS_MAX then
            words[#words + 1] = '"' .. word:gsub('"', '""') .. '"'
        end
    end
    return #words > 0 and table.concat(words, " ") .. "*"
end

-- The best matches first.
function search.posts(text, limit)
    local query = quoted(text)
    if not query then return {} end
    return db.rows([[
        SELECT posts.id, posts.user_id, users.name AS author, posts.title, posts.created_at,
               snippet(posts_words, 1, '', '', '...', 16) AS excerpt
        FROM posts_words
        JOIN posts ON posts.id = posts_words.rowid
        JOIN users ON users.id = posts.user_id
        WHERE posts_words MATCH ? ORDER BY bm25(posts_words), posts.id DESC LIMIT ?]], query, limit)
end

return search
