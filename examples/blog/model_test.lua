-- Tests of the blog without a server: lua5.4 examples/blog/model_test.lua
--
-- Each test has a database of its own in a fresh folder. Called with --write it is one of the processes that
-- write at once.

local folder = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = folder .. "/?.lua;" .. package.path

local MODULES = { "db", "schema", "sha256", "users", "posts", "search", "page" }

-- The model as a new VM would load it, on the database at this path.
local function open(path)
    local getenv = os.getenv
    os.getenv = function(name) -- luacheck: ignore
        if name == "BLOG_DB" then return path end
        return getenv(name)
    end
    local model = {}
    for _, name in ipairs(MODULES) do
        package.loaded[name] = nil
    end
    for _, name in ipairs(MODULES) do
        model[name] = require(name)
    end
    os.getenv = getenv -- luacheck: ignore
    return model
end

if arg[1] == "--write" then
    local path, name, count = arg[2], arg[3], tonumber(arg[4])
    local m = open(path)
    m.schema.migrate()
    local user = assert(m.users.create { name = name })
    for i = 1, count do
        local post = m.posts.create(user.id, { title = name .. " " .. i, body = "all at once" })
        if i % 3 == 0 then m.posts.change(post.id, { body = "changed" }) end
        assert(m.posts.by_id(post.id).title == name .. " " .. i)
        assert(#m.search.posts("all changed", 5) == 0)
    end
    print "done"
    return
end

local function is(got, wanted, what)
    if got ~= wanted then
        error(("%s: got %s, wanted %s"):format(what or "value", tostring(got), tostring(wanted)), 2)
    end
end

local function raises(pattern, fn, ...)
    local ok, message = pcall(fn, ...)
    if ok or not tostring(message):find(pattern) then
        error(("no error like '%s' but %s"):format(pattern, tostring(message)), 2)
    end
end

local function ids(list)
    local found = {}
    for i, item in ipairs(list) do
        found[i] = item.id
    end
    return table.concat(found, " ")
end

local DROP = "'); DROP TABLE posts;--"

local tests = {
    { "sha256_of_known_messages", function(m)
        is(m.sha256 "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        is(m.sha256 "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        is(m.sha256(("a"):rep(1000)), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
    end },
    { "sign_up_gives_a_token_that_finds_the_user", function(m)
        local user, token = m.users.create { name = "ann" }
        is(user.id, 1)
        is(#token, 64)
        is(m.users.by_token(token).name, "ann")
        is(m.users.by_token(token:upper()), nil)
        is(m.users.by_id(1).created_at:find "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", 1)
        is(m.users.by_id(1).token_hash, nil)
    end },
    { "database_does_not_hold_the_token", function(m)
        local _, token = m.users.create { name = "ann" }
        is(m.db.one("SELECT count(*) AS n FROM users WHERE token_hash = ?", token).n, 0)
    end },
    { "a_name_is_given_once_whatever_its_case", function(m)
        assert(m.users.create { name = "ann" })
        is(m.users.create { name = "ANN" }, nil)
        assert(m.users.create { name = "bob" })
        is(m.users.by_id(2).name, "bob")
    end },
    { "bad_names_are_refused", function(m)
        for _, new in ipairs { 7, "ann", {}, { name = 1 }, { name = "" }, { name = "a b" }, { name = "<i>" },
            { name = ("x"):rep(41) }, { name = "ann\n" } } do
            assert(m.users.faults(new))
        end
        is(m.users.faults { name = ("x"):rep(40) }, nil)
    end },
    { "users_are_found_by_prefix", function(m)
        for _, name in ipairs { "joe", "John", "jane", "x" } do m.users.create { name = name } end
        is(ids(m.users.by_prefix("jo", 10)), "1 2")
        is(ids(m.users.by_prefix("", 10)), "3 1 2 4")
        is(ids(m.users.by_prefix("", 1)), "3")
        is(ids(m.users.by_prefix("%", 10)), "")
        is(ids(m.users.by_prefix(DROP, 10)), "")
    end },
    { "hostile_title_comes_back_as_it_was", function(m)
        m.users.create { name = "ann" }
        local post = m.posts.create(1, { title = DROP, body = "\"'\\%_\u{1F600}\r\n" })
        is(post.title, DROP)
        is(m.posts.by_id(post.id).title, DROP)
        is(m.posts.by_id(post.id).body, "\"'\\%_\u{1F600}\r\n")
        is(ids(m.search.posts(DROP, 10)), "1")
        is(ids(m.posts.recent(10)), "1")
    end },
    { "bad_posts_are_refused_field_by_field", function(m)
        is(m.posts.faults { title = "t", body = "b" }, nil)
        is(m.posts.faults(nil).title, "is required")
        is(m.posts.faults({ title = "t" }).title, nil)
        is(m.posts.faults({ title = "t" }).body, "is required")
        is(m.posts.faults({ title = " ", body = "b" }).title, "is empty")
        is(m.posts.faults({ title = "a\0b", body = "b" }).title, "must not contain NUL")
        is(m.posts.faults({ title = "\255", body = "b" }).title, "is not UTF-8")
        is(m.posts.faults({ title = ("\u{e9}"):rep(200), body = "b" }), nil)
        is(m.posts.faults({ title = ("x"):rep(201), body = "b" }).title, "is longer than 200 characters")
        is(m.posts.faults({}, true), nil)
        is(m.posts.faults({ title = 5 }, true).title, "is required")
    end },
    { "a_post_of_nobody_is_refused_and_leaves_nothing", function(m)
        raises("FOREIGN KEY", m.posts.create, 99, { title = "t", body = "b" })
        is(#m.posts.recent(10), 0)
        m.users.create { name = "ann" }
        is(m.posts.create(1, { title = "t", body = "b" }).author, "ann")
    end },
    { "lists_are_newest_first_and_go_on_where_they_ended", function(m)
        m.users.create { name = "ann" }
        m.users.create { name = "bob" }
        for i = 1, 6 do m.posts.create(i % 2 + 1, { title = "t" .. i, body = "b" }) end
        is(ids(m.posts.recent(4)), "6 5 4 3")
        is(ids(m.posts.recent(4, 3)), "2 1")
        is(ids(m.posts.by_user(1, 2)), "6 4")
        is(ids(m.posts.by_user(1, 2, 4)), "2")
        is(ids(m.posts.by_user(9, 2)), "")
    end },
    { "changed_and_deleted_posts_are_searched_as_they_are", function(m)
        m.users.create { name = "ann" }
        m.posts.create(1, { title = "blue moon", body = "rising" })
        m.posts.create(1, { title = "red sun", body = "setting" })
        is(m.posts.change(1, { title = "green moon" }).body, "rising")
        is(ids(m.search.posts("blue", 10)), "")
        is(ids(m.search.posts("green", 10)), "1")
        m.posts.delete(1)
        is(ids(m.search.posts("moon", 10)), "")
        is(m.posts.by_id(1), nil)
        is(m.posts.change(1, { title = "x" }), nil)
        is(m.posts.create(1, { title = "t", body = "b" }).id, 3)
    end },
    { "search_takes_anything_for_words", function(m)
        m.users.create { name = "ann" }
        m.posts.create(1, { title = "Blue \"moon\"", body = "caf\u{e9} AND NEAR" })
        for _, text in ipairs { "blue", "BLUE moo", "cafe", '"moon"', "and near", "blue -- !!", "moon\0blue" } do
            is(ids(m.search.posts(text, 10)), "1", text)
        end
        local misses = { "", "--", "*", '"', "title:", "NOT blue", "blue OR", "(", "\255\254", ("a "):rep(999) }
        for _, text in ipairs(misses) do
            is(ids(m.search.posts(text, 10)), "", text)
        end
    end },
    { "an_error_in_a_transaction_undoes_all_of_it", function(m)
        raises("^enough$", m.db.transaction, function()
            m.users.create { name = "ann" }
            error("enough", 0)
        end)
        is(#m.users.by_prefix("", 9), 0)
        is(select("#", m.db.transaction(function() return nil, nil end)), 2)
    end },
    { "a_transaction_left_open_is_undone_by_the_next", function(m)
        local stuck = coroutine.wrap(function()
            m.db.transaction(function()
                m.users.create { name = "ann" }
                coroutine.yield()
            end)
        end)
        stuck()
        m.db.transaction(m.users.create, { name = "bob" })
        is(ids(m.users.by_prefix("", 9)), "1")
        is(m.users.by_id(1).name, "bob")
    end },
    { "a_failed_statement_works_the_next_time", function(m)
        local sql = "INSERT INTO users (name, token_hash) VALUES (?, ?)"
        m.db.run(sql, "ann", "1")
        raises("UNIQUE", m.db.run, sql, "ann", "2")
        m.db.run(sql, "bob", "2")
        raises("syntax error", m.db.run, "SELEC 1")
    end },
    { "the_page_shows_markup_as_text", function(m)
        m.users.create { name = "ann" }
        m.posts.create(1, { title = "<script>&'\"%d", body = "100 %s" })
        local html = m.page.front(m.posts.recent(9))
        assert(html:find("&lt;script&gt;&amp;&#39;&quot;%d", 1, true), html)
        assert(html:find("100 %s", 1, true), html)
        assert(m.page.front({}):find "Nothing has been written")
    end },
    { "data_is_there_after_a_restart", function(m, path)
        local _, token = m.users.create { name = "ann" }
        m.posts.create(1, { title = DROP, body = "b" })
        local again = open(path)
        again.schema.migrate()
        is(again.users.by_token(token).id, 1)
        is(again.posts.by_id(1).title, DROP)
    end },
    { "a_database_of_a_newer_blog_is_refused", function(m)
        m.db.run "PRAGMA user_version = 999"
        raises("newer", m.schema.migrate)
    end },
    { "eight_processes_write_at_once_and_none_sees_a_lock", function(m, path)
        local other = path .. ".shared" -- which none of them has made yet
        local writers, WRITERS, POSTS = {}, 8, 60
        for i = 1, WRITERS do
            local command = ("lua5.4 '%s' --write '%s' writer%d %d 2>&1"):format(arg[0], other, i, POSTS)
            writers[i] = assert(io.popen(command))
        end
        for i, writer in ipairs(writers) do
            is(writer:read "a", "done\n", "writer " .. i)
            assert(writer:close())
        end
        local after = open(other)
        is(after.db.one("SELECT count(*) AS n FROM posts").n, WRITERS * POSTS)
        is(after.db.one("PRAGMA integrity_check").integrity_check, "ok")
        is(after.db.one("PRAGMA journal_mode").journal_mode, "wal")
        is(#m.posts.recent(9), 0)
    end },
}

local function run(test, path)
    local m = open(path)
    m.schema.migrate()
    test(m, path)
end

local pipe = assert(io.popen "mktemp -d")
local scratch = pipe:read "l"
pipe:close()

local failed = 0
for i, test in ipairs(tests) do
    local ok, message = xpcall(run, debug.traceback, test[2], ("%s/%d.db"):format(scratch, i))
    if not ok then
        failed = failed + 1
        print(("FAILED %s: %s"):format(test[1], message))
    end
end
collectgarbage() -- closes the databases before their folder goes
os.execute(("rm -r '%s'"):format(scratch))
print(("%d passed, %d failed"):format(#tests - failed, failed))
os.exit(failed == 0)
