#include "runtime/date.h"

#include <stdio.h>
#include <string.h>

void date_format(time_t second, char out[DATE_BYTES])
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    char text[64];
    gmtime_r(&second, &tm);
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, DATE_BYTES - 1);
    out[DATE_BYTES - 1] = '\0';
}

const char *date_now(date_cache *c)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != c->second) {
        c->second = now.tv_sec;
        date_format(c->second, c->text);
    }
    return c->text;
}
