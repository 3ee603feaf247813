/* json_scan: skips the bytes of a string that are the same in Lua and in JSON, eight at a time.
 *
 * Plain bytes are ASCII from 0x20 on, but for the quote and the backslash. */
#ifndef VM_JSON_SCAN_H
#define VM_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define JSON_SCAN_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline bool json_scan_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Zero if all eight bytes of x are plain. Otherwise the top bit of the first byte that is not plain is set,
 * and no top bit before it; later ones may be set without reason, by a borrow. */
static inline uint64_t json_scan_marks(uint64_t x)
{
    uint64_t quote = x ^ JSON_SCAN_EACH('"');
    uint64_t backslash = x ^ JSON_SCAN_EACH('\\');
    uint64_t control = x - JSON_SCAN_EACH(0x20);
    uint64_t one = JSON_SCAN_EACH(1);
    return (x | control | (quote - one) | (backslash - one)) & JSON_SCAN_EACH(0x80);
}

static inline uint64_t json_scan_load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline const char *json_scan_first(const char *p, uint64_t marks)
{
    return p + (__builtin_ctzll(marks) >> 3);
}

/* At most seven bytes. Two overlapping loads of four tell of nearly all that they are plain. */
static inline const char *json_scan_short(const char *p, const char *end)
{
    if (end - p >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, sizeof head);
        memcpy(&tail, end - 4, sizeof tail);
        if (json_scan_marks(head | (uint64_t)tail << 32) == 0)
            return end;
    }
    while (p < end && json_scan_is_plain((unsigned char)*p))
        p++;
    return p;
}

/* Returns: the first byte of [p, end) that is not plain, or end. */
static inline const char *json_scan_plain(const char *p, const char *end)
{
    if (end - p < 8)
        return json_scan_short(p, end);
    while (end - p >= 8) {
        uint64_t marks = json_scan_marks(json_scan_load8(p));
        if (marks)
            return json_scan_first(p, marks);
        p += 8;
    }
    /* The last eight bytes overlap some that are known to be plain. */
    uint64_t marks = json_scan_marks(json_scan_load8(end - 8));
    return marks ? json_scan_first(end - 8, marks) : end;
}

#endif
