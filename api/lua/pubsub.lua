-- The module "poolsrv.pubsub": messages to all VMs that listen just now, and through Redis to those of all machines.
--
-- The chunk returns open(publish, define, where) -> the module.
--   publish   publish(channel, value) -> true; or nil, why, and a word for it.
--   define    define(kind, name, fn, options) keeps a listener.
--   where     of where.lua.

local error, setmetatable, type = error, setmetatable, type
local format, match = string.format, string.match

local NAME_MOST = 100

local failure = {
    __name = "poolsrv.pubsub error",
    __tostring = function(self)
        return self.message
    end,
}

local function open(publish, define, where)
    where.hide("=poolsrv/pubsub.lua")
    local pubsub = {}

    pubsub.subscribe = where.guard(function(channel, fn)
        if type(channel) ~= "string" or not match(channel, "^[%w._-]+$") or #channel > NAME_MOST then
            where.raise('pubsub.subscribe: a channel\'s name is of letters, digits and "._-", 100 of them at most')
        elseif type(fn) ~= "function" then
            where.raise(format("pubsub.subscribe(%q): expected a function, not %s", channel, type(fn)))
        end
        define("notice", "channel:" .. channel, fn, { where = where.here() })
    end)

    function pubsub.publish(channel, value)
        local ok, message, code = publish(channel, value)
        if not ok then
            error(setmetatable({ message = "pubsub.publish: " .. message, code = code }, failure), 0)
        end
    end

    return pubsub
end

return open
