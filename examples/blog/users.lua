-- People who write. Who signs up gets a token once; it is the only way to prove later who one is.
--
-- What is stored is the token's SHA-256, so that whoever reads the database cannot act for anybody. A plain hash
-- would be wrong for a password, which can be guessed; a token of 256 random bits cannot.

local db = require "db"
local sha256 = require "sha256"

local NAME_MAX = 40
local TOKEN_BYTES = 32

local users = {}

local function new_token()
    local source <close> = assert(io.open("/dev/urandom", "rb"))
    source:setvbuf "no"
    local bytes = source:read(TOKEN_BYTES)
    assert(bytes and #bytes == TOKEN_BYTES, "/dev/urandom gave too little")
    return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- What is wrong with a sign-up, by field; nil when it is fine.
function users.faults(new)
    local name = type(new) == "table" and new.name
    if type(name) ~= "string" then return { name = "is required" } end
    if #name > NAME_MAX or not name:find "^[%w_.-]+$" then
        return { name = "1 to " .. NAME_MAX .. " letters, digits, '_', '.' or '-'" }
    end
end

-- The new user and its token; nil when the name is taken.
function users.create(new)
    local token = new_token()
    local user = db.one([[
        INSERT INTO users (name, token_hash) VALUES (?, ?)
        ON CONFLICT (name) DO NOTHING RETURNING id, name, created_at]], new.name, sha256(token))
    return user, token
end

function users.by_id(id)
    return db.one("SELECT id, name, created_at FROM users WHERE id = ?", id)
end

function users.by_token(token)
    return db.one("SELECT id, name, created_at FROM users WHERE token_hash = ?", sha256(token))
end

-- Users whose name begins so, in the order of their names. As a range, for which the index on name serves.
function users.by_prefix(prefix, limit)
    return db.rows([[
        SELECT id, name, created_at FROM users
        WHERE name >= ?1 AND name < ?1 || char(0x10ffff) ORDER BY name LIMIT ?2]], prefix, limit)
end

return users
