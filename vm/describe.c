/* What runs in a VM just now, for the report of a crash. It only reads, asks Lua for nothing that allocates
 * or raises, and may still fault where the crash has damaged what it reads: the caller reckons with that. */
#include <string.h>

#include "vm/internal.h"

enum { LEVELS_MAX = 30 };

static void put(vm_put *to, void *user, const char *text)
{
    to(user, text, strlen(text));
}

static void put_str(vm_put *to, void *user, const char *before, str s)
{
    put(to, user, before);
    to(user, s.p ? s.p : "?", s.p ? s.n : 1);
}

/* One line of the traceback. Not snprintf, which may take locks. */
static void put_level(vm_put *to, void *user, const lua_Debug *ar)
{
    char digits[12], *p = digits + sizeof(digits);
    unsigned line = ar->currentline > 0 ? (unsigned)ar->currentline : 0;
    put(to, user, "  ");
    put(to, user, ar->short_src);
    if (line) {
        do
            *--p = (char)('0' + line % 10);
        while (line /= 10);
        put(to, user, ":");
        to(user, p, (size_t)(digits + sizeof(digits) - p));
    }
    put(to, user, "\n");
}

void vm_describe(vm *v, vm_put *to, void *user)
{
    lua_Debug ar;
    const vm_run *run = v->running;
    if (run) {
        put(to, user, "route: ");
        put(to, user, v->route_names[run->request.route]);
        put_str(to, user, "\nrequest: ", run->request.id(run->request.host));
        put(to, user, "\n");
    }
    put(to, user, "Lua:\n");
    lua_State *co = atomic_load_explicit(&v->current, memory_order_relaxed);
    for (int level = 0; level < LEVELS_MAX && lua_getstack(co, level, &ar); level++)
        if (vm_can_describe(&ar) && lua_getinfo(co, "Sl", &ar))
            put_level(to, user, &ar);
}
