-- The nearest spelling: what somebody who wrote `gett` probably meant.
--
-- suggest(word, candidates) returns the candidate, or nil when none is near. Earlier candidates win a tie.
-- Case does not count. A word of three letters or more that begins a candidate ("del", "redir") is near too.
-- Works on bytes; only cold paths come here.

local byte, lower, sub = string.byte, string.lower, string.sub
local ipairs, min = ipairs, math.min

-- Edits (insert, drop, replace, swap two neighbours) that turn `a` into `b`.
local function distance(a, b)
    local before, last, row = nil, nil, {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        before, last, row = last, row, { [0] = i }
        for j = 1, #b do
            local replace = byte(a, i) == byte(b, j) and 0 or 1
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + replace)
            if before and j > 1 and byte(a, i) == byte(b, j - 1) and byte(a, i - 1) == byte(b, j) then
                row[j] = min(row[j], before[j - 2] + 1)
            end
        end
    end
    return row[#b]
end

return function(word, candidates)
    -- No name of ours is that long, and the work grows with the square.
    if #word > 32 then
        return nil
    end
    word = lower(word)
    local best, fewest = nil, min(2, #word // 3) + 1
    if #word < 3 then
        fewest = #word
    end
    for _, candidate in ipairs(candidates) do
        local edits = distance(word, lower(candidate))
        if edits > 1 and #word >= 3 and sub(candidate, 1, #word) == word then
            edits = 1
        end
        if edits < fewest then
            best, fewest = candidate, edits
        end
    end
    return best
end
