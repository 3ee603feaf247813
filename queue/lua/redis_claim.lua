-- KEYS[1]: of a clock's entry. ARGV: a moment. Returns: 1 if that one, or a later one, was claimed already.
local last = redis.call('GET', KEYS[1])
if last and tonumber(last) >= tonumber(ARGV[1]) then
    return 1
end
redis.call('SET', KEYS[1], ARGV[1])
return 0
