#include "runtime/request_id.h"

#include <stdint.h>
#include <sys/random.h>
#include <time.h>

static void hex(char *out, uint64_t value, int digits)
{
    for (int i = digits; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
}

void request_id_make(char *out)
{
    static _Thread_local uint64_t origin;
    static _Thread_local uint32_t count;
    if (!origin && getrandom(&origin, sizeof(origin), GRND_NONBLOCK) != (ssize_t)sizeof(origin)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        origin = ((uint64_t)now.tv_nsec << 32) ^ (uint64_t)now.tv_sec ^ (uintptr_t)&origin;
    }
    hex(out, origin, 16);
    hex(out + 16, count++, 8);
    out[REQUEST_ID_BYTES] = '\0';
}

bool request_id_is_sane(str id)
{
    if (id.n < 1 || id.n > 64)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
            return false;
    }
    return true;
}
