-- SHA-256 (FIPS 180-4) in plain Lua: some twenty microseconds for a token. Returns the digest in hex.

local MASK = 0xffffffff

-- The first 32 bits of the fractional parts of the square roots of the first 8 primes, and of the cube roots of
-- the first 64.
local INITIAL = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}
local ROUND = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- A 32-bit word written twice in 64 bits turns rotations into shifts.
local function doubled(x)
    return x | x << 32
end

local function compress(state, w)
    for i = 17, 64 do
        local x, y = doubled(w[i - 15]), doubled(w[i - 2])
        local s0 = x >> 7 ~ x >> 18 ~ w[i - 15] >> 3
        local s1 = y >> 17 ~ y >> 19 ~ w[i - 2] >> 10
        w[i] = w[i - 16] + (s0 & MASK) + w[i - 7] + (s1 & MASK) & MASK
    end

    local a, b, c, d, e, f, g, h = table.unpack(state)
    for i = 1, 64 do
        local x, y = doubled(e), doubled(a)
        local s1 = (x >> 6 ~ x >> 11 ~ x >> 25) & MASK
        local s0 = (y >> 2 ~ y >> 13 ~ y >> 22) & MASK
        local t1 = h + s1 + (g ~ e & (f ~ g)) + ROUND[i] + w[i]
        local t2 = s0 + (a & b | c & (a | b))
        h, g, f, e, d, c, b, a = g, f, e, d + t1 & MASK, c, b, a, t1 + t2 & MASK
    end

    for i, word in ipairs { a, b, c, d, e, f, g, h } do
        state[i] = state[i] + word & MASK
    end
end

return function(message)
    local padding = ("\0"):rep(-(#message + 9) % 64)
    local padded = message .. "\128" .. padding .. (">I8"):pack(#message * 8)
    local state = table.move(INITIAL, 1, 8, 1, {})
    for at = 1, #padded, 64 do
        compress(state, { (">I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4"):unpack(padded, at) })
    end
    return ("%08x"):rep(8):format(table.unpack(state))
end
