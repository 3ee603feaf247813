-- ARGV: delay, 1 if it was an attempt or 0 if it is given back, note, tokens. Returns: how many were not held.
local wait, counts, note = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local stale = 0
for i = 4, #ARGV do
    local level, fields = remove(ARGV[i])
    if level then
        if counts == 1 then
            set(fields, 'a', attempts(fields) + 1)
            set(fields, 'n', note ~= '' and note or nil)
        end
        if wait > 0 then
            delay(level, fields, now + wait)
        else
            add(counts == 1 and 's' or 'r', level, fields)
        end
    else
        stale = stale + 1
    end
end
return stale
