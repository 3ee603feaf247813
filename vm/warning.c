#include "vm/warning.h"

#include "vm/internal.h"

enum { LEVEL_WARN = 1, BYTES_MAX = 4096 };

static bool equals(const char *piece, const char *word)
{
    return strcmp(piece, word) == 0;
}

/* A message of one piece that begins with '@' is for us: warn("@off"), warn("@on"). */
static void control(vm *v, const char *piece)
{
    if (v->sealed)
        return; /* it would be for other requests too */
    if (equals(piece, "@off"))
        v->warnings_off = true;
    else if (equals(piece, "@on"))
        v->warnings_off = false;
}

static void add(buf *b, const char *piece)
{
    size_t n = strlen(piece), room = BYTES_MAX - b->n;
    (void)buf_add(b, piece, n < room ? n : room); /* out of memory: the rest is told */
}

static void on_warning(void *user, const char *piece, int goes_on)
{
    vm *v = user;
    buf *b = &v->warning;
    if (!v->warning_begun && !goes_on && piece[0] == '@') {
        control(v, piece);
        return;
    }
    if (!v->warning_begun)
        add(b, "Lua warning: ");
    v->warning_begun = true;
    add(b, piece);
    if (goes_on)
        return;
    if (!v->warnings_off && b->n)
        vm_log(v, LEVEL_WARN, b->p, b->n);
    v->warning_begun = false;
    b->n = 0;
}

void warning_install(vm *v)
{
    lua_setwarnf(v->L, on_warning, v);
}
