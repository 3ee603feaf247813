#include "vm/wait.h"

#include <lauxlib.h>

#include "vm/load.h"

/* Longer than any server runs. */
#define EVER_NS UINT64_C(1000000000000000000)

#define BOX "poolsrv.wait"

enum { BEGUN, WAITED_FOR, OVER };

bool wait_is_possible(lua_State *L)
{
    const vm *v = vm_of(L);
    return v->running && v->running->request.inbox && lua_isyieldable(L);
}

int wait_refuse(lua_State *L, const char *title)
{
    return load_raise(L,
                      "%s: it cannot wait here, inside a callback of a C function such as table.sort or "
                      "string.gsub: call it outside of that",
                      title);
}

void wait_init(wait *w, const vm *v, void (*free)(await *a))
{
    await_init(&w->await, v && v->running ? v->running->request.inbox : NULL, free);
    await_ref(&w->await);
    atomic_init(&w->stage, BEGUN);
}

/* Both sides exchange: whoever comes second knows that the other was there, and sees what it did. */
void wait_over(wait *w)
{
    if (atomic_exchange_explicit(&w->stage, OVER, memory_order_acq_rel) == WAITED_FOR)
        await_end(&w->await);
    else
        await_unref(&w->await);
}

bool wait_begins(wait *w)
{
    return atomic_exchange_explicit(&w->stage, WAITED_FOR, memory_order_acq_rel) != OVER;
}

static int on_gc(lua_State *L)
{
    wait **box = lua_touserdata(L, 1);
    if (*box)
        await_unref(&(*box)->await);
    *box = NULL;
    return 0;
}

void wait_push_box(lua_State *L)
{
    wait **box = lua_newuserdatauv(L, sizeof(wait *), 0);
    *box = NULL;
    if (luaL_newmetatable(L, BOX)) {
        lua_pushcfunction(L, on_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
}

void wait_fill(lua_State *L, int index, wait *w)
{
    wait **box = lua_touserdata(L, index);
    *box = w;
}

wait *wait_in(lua_State *L, int index)
{
    wait **box = lua_touserdata(L, index);
    return *box;
}

int wait_yield(lua_State *L, wait *w, uint64_t most_ns, lua_KFunction k)
{
    vm_run *run = vm_of(L)->running;
    run->request.await = &w->await;
    run->request.park_ns = most_ns ? most_ns : EVER_NS;
    int at = lua_gettop(L);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&vm_park_mark);
    return lua_yieldk(L, 1, at, k);
}
