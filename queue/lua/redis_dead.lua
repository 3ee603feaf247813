-- KEYS[2]: the stem of the queue that they move to. ARGV: this queue's name, note, tokens. Returns: how many were
-- not held.
local stale = 0
for i = 3, #ARGV do
    local level, fields = remove(ARGV[i])
    if level then
        set(fields, 'a', attempts(fields) + 1)
        set(fields, 'n', ARGV[2] ~= '' and ARGV[2] or nil)
        set(fields, 'f', ARGV[1])
        add('s', level, fields, KEYS[2])
    else
        stale = stale + 1
    end
end
return stale
