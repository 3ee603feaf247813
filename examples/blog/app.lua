-- A small blog: people sign up, write, list and search posts. See README.md for what to type.
--
-- This file holds the routes. It runs once in each VM, so nothing is kept in Lua variables between requests: all
-- state is in SQLite, which every VM opens for itself.

local auth = require "auth"
local page = require "page"
local posts = require "posts"
local schema = require "schema"
local search = require "search"
local users = require "users"

local PAGE_SIZE = 20
local PAGE_MAX = 100

-- Once a process, before the first request.
api.on_start(schema.migrate)

-- A path or query value as a whole number, or nil.
local function integer(text)
    return text and #text <= 9 and text:find "^%d+$" and math.tointeger(tonumber(text)) or nil
end

-- The parameter `id` as a number; whatever else stands there is not found.
local function id_of(ctx)
    return integer(ctx:params().id) or error(api.error(404, "Not found"))
end

-- How many and from where, of a list: ?limit=20&before=ID.
local function range_of(ctx)
    local query = ctx:query()
    return math.min(integer(query.limit) or PAGE_SIZE, PAGE_MAX), integer(query.before)
end

-- An empty list is [] in JSON, where an empty table would be {}.
local function list_of_posts(list)
    return { posts = json.array(list) }
end

local function post_or_404(id)
    return posts.by_id(id) or error(api.error(404, "No such post"))
end

function api.get()
    return api.html(page.front(posts.recent(PAGE_SIZE)))
end

-- ---- users

function api.users.post(ctx)
    local new = ctx:json()
    local faults = users.faults(new)
    if faults then return api.error(422, "Not a valid user", faults) end
    local user, token = users.create(new)
    if not user then return api.error(409, "The name is taken", { name = "is taken" }) end
    user.token = token
    return api.json(user, 201):header("location", "/users/" .. user.id):header("cache-control", "no-store")
end

-- GET /users?name=jo
function api.users.get(ctx)
    return { users = json.array(users.by_prefix(ctx:query().name or "", (range_of(ctx)))) }
end

function api.users.p_id.get(ctx)
    return users.by_id(id_of(ctx)) or api.error(404, "No such user")
end

function api.users.p_id.posts.get(ctx)
    local id = id_of(ctx)
    if not users.by_id(id) then return api.error(404, "No such user") end
    return list_of_posts(posts.by_user(id, range_of(ctx)))
end

function api.users.p_id.posts.post(ctx)
    local user = auth.user_is(ctx, id_of(ctx))
    local post = ctx:json()
    local faults = posts.faults(post)
    if faults then return api.error(422, "Not a valid post", faults) end
    post = posts.create(user.id, post)
    return api.json(post, 201):header("location", "/posts/" .. post.id)
end

-- ---- posts

function api.posts.get(ctx)
    return list_of_posts(posts.recent(range_of(ctx)))
end

function api.posts.p_id.get(ctx)
    return post_or_404(id_of(ctx))
end

function api.posts.p_id.patch(ctx)
    local id = id_of(ctx)
    auth.user_is(ctx, post_or_404(id).user_id)
    local change = ctx:json()
    local faults = posts.faults(change, true)
    if faults then return api.error(422, "Not a valid change", faults) end
    return posts.change(id, change) or api.error(404, "No such post")
end

function api.posts.p_id.delete(ctx)
    local id = id_of(ctx)
    auth.user_is(ctx, post_or_404(id).user_id)
    posts.delete(id)
    return api.status(204)
end

-- GET /search?q=words
function api.search.get(ctx)
    local text = ctx:query().q
    if not text then return api.error(400, "Say what to look for: /search?q=words") end
    return list_of_posts(search.posts(text, (range_of(ctx))))
end
