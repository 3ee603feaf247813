#include "api/program/top_text.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* --- figures --- */

static char *unknown(char cell[TOP_CELL_BYTES])
{
    return strcpy(cell, "-");
}

char *top_text_rate(char cell[TOP_CELL_BYTES], double a_second)
{
    if (isnan(a_second))
        return unknown(cell);
    int digits = a_second == 0 || a_second >= 99.95 ? 0 : a_second >= 0.995 ? 1 : 2;
    snprintf(cell, TOP_CELL_BYTES, "%.*f", digits, fmin(a_second, 1e12));
    return cell;
}

char *top_text_count(char cell[TOP_CELL_BYTES], double n)
{
    if (isnan(n))
        return unknown(cell);
    snprintf(cell, TOP_CELL_BYTES, "%.0f", fmin(n, 1e15));
    return cell;
}

char *top_text_bytes(char cell[TOP_CELL_BYTES], double n)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    size_t unit = 0;
    if (isnan(n))
        return unknown(cell);
    for (; n >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        n /= 1000;
    snprintf(cell, TOP_CELL_BYTES, "%.*f %s", unit > 0 && n < 9.95 ? 1 : 0, fmin(n, 1e6), units[unit]);
    return cell;
}

char *top_text_latency(char cell[TOP_CELL_BYTES], top_latency t)
{
    if (isnan(t.seconds))
        return unknown(cell);
    bool in_ms = t.seconds < 0.9995;
    double n = fmin(in_ms ? t.seconds * 1000 : t.seconds, 1e9);
    int digits = n >= 9.95 || (!in_ms && n == floor(n)) ? 0 : n >= 0.995 ? 1 : 2;
    snprintf(cell, TOP_CELL_BYTES, "%s%.*f%s", t.beyond ? ">" : "", digits, n, in_ms ? "ms" : "s");
    return cell;
}

char *top_text_age(char cell[TOP_CELL_BYTES], double seconds)
{
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    if (isnan(seconds))
        return unknown(cell);
    long s = seconds > 0 ? (long)fmin(seconds, 1e12) : 0;
    if (s < MINUTE)
        snprintf(cell, TOP_CELL_BYTES, "%lds", s);
    else if (s < HOUR)
        snprintf(cell, TOP_CELL_BYTES, "%ldm%02lds", s / MINUTE, s % MINUTE);
    else if (s < DAY)
        snprintf(cell, TOP_CELL_BYTES, "%ldh%02ldm", s / HOUR, s % HOUR / MINUTE);
    else
        snprintf(cell, TOP_CELL_BYTES, "%ldd%02ldh", s / DAY, s % DAY / HOUR);
    return cell;
}

/* --- names --- */

/* Marks that are not seen, but change how what stands around them is shown. */
static bool is_hidden(wchar_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xad || c == 0x61c || c == 0xfeff;
}

/* A piece of a name that is shown whole or not at all. */
typedef struct piece {
    char text[16];
    size_t columns;
    size_t bytes; /* of the name */
} piece;

/* The character at p, which is not its end, or what it is spelled as. `spell` is one more to be spelled out.
 */
static piece next_piece(const char *p, char spell)
{
    piece it = {.bytes = 1};
    wchar_t c = L'\0';
    mbstate_t state = {0};
    size_t bytes = mbrtowc(&c, p, strnlen(p, MB_LEN_MAX), &state);
    bool whole = bytes != (size_t)-1 && bytes != (size_t)-2 && bytes > 0;
    int columns = whole && *p != spell && iswprint((wint_t)c) && !is_hidden(c) ? wcwidth(c) : -1;
    if (columns >= 0 && bytes < sizeof it.text) {
        memcpy(it.text, p, bytes);
        it.columns = (size_t)columns;
        it.bytes = bytes;
    } else {
        it.columns = (size_t)snprintf(it.text, sizeof it.text, "\\x%02x", (unsigned char)*p);
    }
    return it;
}

size_t top_text_width(const char *name)
{
    size_t columns = 0;
    while (*name) {
        piece it = next_piece(name, '\0');
        columns += it.columns;
        name += it.bytes;
    }
    return columns;
}

size_t top_text_name(FILE *out, const char *name, size_t columns)
{
    bool cut = top_text_width(name) > columns;
    size_t room = cut && columns ? columns - 1 : columns, used = 0;
    while (*name) {
        piece it = next_piece(name, '\0');
        if (used + it.columns > room)
            break;
        fputs(it.text, out);
        used += it.columns;
        name += it.bytes;
    }
    if (cut && columns) {
        fputc('~', out);
        used++;
    }
    return used;
}

void top_text_word(FILE *out, const char *name)
{
    if (!*name)
        fputc('-', out);
    while (*name) {
        piece it = next_piece(name, ' ');
        fputs(it.text, out);
        name += it.bytes;
    }
}
