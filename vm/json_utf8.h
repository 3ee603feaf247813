/* json_utf8: tells well-formed UTF-8 from the rest (Unicode 15, table 3-7), and writes it. */
#ifndef VM_JSON_UTF8_H
#define VM_JSON_UTF8_H

#include <stdint.h>

/* What stands at p, which is before end.
 * Returns: the bytes of the character there (1 to 4), or minus the bytes of the ill-formed part there (-1 to
 * -3): the longest start of a character that is cut short, else one byte. */
static inline int json_utf8_measure(const char *p, const char *end)
{
    const unsigned char *s = (const unsigned char *)p;
    unsigned char first = s[0];
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return -1;
    int n = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    /* The second byte's range keeps out overlong forms, surrogates, and what is above U+10FFFF. */
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < n; i++) {
        if (end - p <= i || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return n;
}

/* Write the code point c, which is not a surrogate. Returns: the bytes written, at most 4. */
static inline int json_utf8_put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)(lead[n] | c);
    return n;
}

#endif
