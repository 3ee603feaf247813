-- Pictures in plain Lua: reads binary PGM and PPM, makes them smaller, writes BMP, which every browser shows.
--
-- Slow, and meant to be: it stands for work that takes a processor for a while.

local files = require "files"

local byte, char, concat = string.byte, string.char, table.concat

local PIXELS_MAX = 16 * 1000 * 1000
local ROW_PART = 3000 -- bytes of a row that are read at once: a C stack has room for some thousand values

local image = {}

-- What the first bytes say: { width, height, channels, at }, where `at` is the first pixel. Or nil and what is wrong.
function image.head(bytes)
    local kind = bytes:match "^P([56])%s"
    if not kind then return nil, "is no binary PGM or PPM" end
    local at, numbers = 3, {}
    for i = 1, 3 do
        local stop
        repeat -- comments reach to the end of their line
            local comment = bytes:match("^%s*#[^\n]*\n()", at)
            at = comment or at
        until not comment
        numbers[i], stop = bytes:match("^%s*(%d+)()", at)
        numbers[i] = math.tointeger(tonumber(numbers[i]))
        if not numbers[i] then return nil, "has no size" end
        at = stop
    end
    local width, height, most = table.unpack(numbers)
    if width < 1 or height < 1 or width > PIXELS_MAX // height then return nil, "is empty or too large" end
    if most ~= 255 then return nil, "has not one byte a colour" end
    return { width = width, height = height, channels = kind == "6" and 3 or 1, at = at + 1 }
end

-- The sums of a row's bytes by column and colour, for columns that are `step` pixels wide.
local function add_row(sums, bytes, at, head, step)
    local channels = head.channels
    local pixel, most = 0, ROW_PART // 3
    while pixel < head.width do
        local n = math.min(most, head.width - pixel)
        local part = { byte(bytes, at + pixel * channels, at + (pixel + n) * channels - 1) }
        for i = 0, n - 1 do
            local to = (pixel + i) // step * 3
            for colour = 1, 3 do
                local from = channels == 3 and i * 3 + colour or i + 1
                sums[to + colour] = (sums[to + colour] or 0) + part[from]
            end
        end
        pixel = pixel + n
    end
end

-- Smaller by a whole number, so that the picture is `width` wide at most: each new pixel is the mean of those that it
-- stands for. Returns: the new size, and the rows of pixels from the top, as red, green, blue.
local function shrink(bytes, head, width)
    local step = math.max(1, -(-head.width // width))
    local columns, rows = -(-head.width // step), -(-head.height // step)
    local picture = {}
    for row = 0, rows - 1 do
        local sums, last = {}, math.min((row + 1) * step, head.height) - 1
        for y = row * step, last do
            add_row(sums, bytes, head.at + y * head.width * head.channels, head, step)
        end
        for column = 0, columns - 1 do
            local wide = math.min(step, head.width - column * step)
            for colour = 1, 3 do
                local i = column * 3 + colour
                sums[i] = sums[i] // (wide * (last - row * step + 1))
            end
        end
        picture[row + 1] = sums
    end
    return columns, rows, picture
end

-- BMP: the rows from the bottom, as blue, green, red, each filled up to four bytes.
local function bmp(width, height, picture)
    local filling = ("\0"):rep(-(width * 3) % 4)
    local rows = {}
    for y = height, 1, -1 do
        local row, pixels = picture[y], {}
        for x = 0, width - 1 do
            pixels[x + 1] = char(row[x * 3 + 3], row[x * 3 + 2], row[x * 3 + 1])
        end
        rows[#rows + 1] = concat(pixels) .. filling
    end
    local body = concat(rows)
    return ("<c2I4I2I2I4I4i4i4I2I2I4I4i4i4I4I4"):pack("BM", 54 + #body, 0, 0, 54, 40, width, height, 1, 24, 0, #body,
        2835, 2835, 0, 0) .. body
end

function image.shrunk(bytes, width)
    local head, fault = image.head(bytes)
    if not head then error("the picture " .. fault, 0) end
    if #bytes < head.at - 1 + head.width * head.height * head.channels then error("the picture ends too early", 0) end
    return bmp(shrink(bytes, head, width))
end

-- For task.run: from file to file, so that no picture travels between VMs.
function image.thumbnail(from, to, width)
    local bytes = assert(files.read(from), "the upload is gone")
    files.write(to, image.shrunk(bytes, width))
end

return image
