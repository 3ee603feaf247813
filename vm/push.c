#include "vm/push.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "vm/load.h"
#include "vm/mqueue.h"
#include "vm/wait.h"

enum { MOST = 1024, KEEP_BODY_BYTES = 64 * 1024, KEEP_ROOM = 64 };

/* In the registry, by its address: a box (vm/wait.h) with pushes that serve again. */
static const char spare_key;

/* Messages that are pushed together. */
typedef struct pushes {
    wait wait; /* first */
    atomic_uint left;
    unsigned n, room;
    buf texts; /* bodies and ids, each with a NUL behind it */
    char queue[MQ_NAME_BYTES];
    struct one {
        mq_op op;
        size_t body, body_bytes, id; /* where in the texts; an id of 0 is none */
    } each[];
} pushes;

static void free_pushes(await *a)
{
    pushes *p = (pushes *)a;
    buf_fini(&p->texts);
    free(p);
}

/* --- boxes --- */

/* Is the box's content to be had again? Nobody else has it then. */
static bool is_free(const pushes *p, unsigned n)
{
    return p && p->room >= n && atomic_load_explicit(&p->wait.await.refs, memory_order_acquire) == 1;
}

/* Push a box with room for n. */
static pushes *push_box(lua_State *L, unsigned n)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &spare_key) != LUA_TUSERDATA) {
        lua_pop(L, 1);
        wait_push_box(L);
    }
    pushes *p = (pushes *)wait_in(L, -1);
    if (!is_free(p, n)) {
        if (p)
            await_unref(&p->wait.await);
        wait_fill(L, -1, NULL);
        p = malloc(sizeof(*p) + n * sizeof(p->each[0]));
        if (!p)
            load_no_memory(L);
        await_init(&p->wait.await, NULL, free_pushes);
        p->room = n;
        p->texts = (buf){0};
        wait_fill(L, -1, &p->wait);
    }
    p->n = n;
    p->texts.n = 0;
    return p;
}

/* The box at an index may serve the next call. */
static void keep_box(lua_State *L, int box)
{
    pushes *p = (pushes *)wait_in(L, box);
    if (p->room > KEEP_ROOM)
        return;
    if (p->texts.cap > KEEP_BODY_BYTES)
        buf_fini(&p->texts);
    lua_pushvalue(L, box);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
}

static void take_box(lua_State *L)
{
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
}

/* --- what is pushed --- */

/* Keep the value at an index as the body of one. */
static void set_body(lua_State *L, int index, pushes *p, struct one *o, const char *title)
{
    if (lua_isnoneornil(L, index))
        load_raise(L, "%s: the message is %s; json.null stands for null", title, luaL_typename(L, index));
    o->body = p->texts.n;
    load_encode(L, index, &p->texts, title);
    o->body_bytes = p->texts.n - o->body;
    if (buf_add(&p->texts, "", 1) < 0)
        load_no_memory(L);
}

/* Keep the value at an index as its id, if it is not nil. */
static void set_id(lua_State *L, int index, pushes *p, struct one *o, const char *title)
{
    o->id = 0;
    if (lua_isnoneornil(L, index))
        return;
    str id = mqueue_check_text(L, lua_absindex(L, index), title, "id", mq_id_is_good, mqueue_id_wanted);
    o->id = p->texts.n; /* a body is before it */
    if (buf_add(&p->texts, id.p, id.n + 1) < 0)
        load_no_memory(L);
}

static void on_done(mq_op *op)
{
    pushes *p = op->user;
    if (atomic_fetch_sub_explicit(&p->left, 1, memory_order_acq_rel) == 1)
        wait_over(&p->wait);
}

/* The arguments from 3 on: delay_ms, (ids), priority, window_ms, wait_ms. */
static void set_op(lua_State *L, pushes *p, struct one *o)
{
    mq_op *op = &o->op;
    op->verb = MQ_PUSH;
    op->queue = p->queue;
    op->body = (str){p->texts.p + o->body, o->body_bytes};
    op->id = o->id ? p->texts.p + o->id : NULL;
    op->note = op->to = NULL;
    op->delay_ms = luaL_optinteger(L, 3, 0);
    op->priority = (int)luaL_optinteger(L, 5, 0);
    op->window_ms = luaL_optinteger(L, 6, 0);
    op->wait_ms = luaL_optinteger(L, 7, 0);
    op->messages = NULL;
    op->stats = NULL;
    op->duplicate = false;
    op->done = on_done;
    op->user = p;
}

static void set_queue(lua_State *L, pushes *p, const char *title)
{
    str name = mqueue_check_text(L, 1, title, "queue", mq_name_is_good, mqueue_name_wanted);
    memcpy(p->queue, name.p, name.n + 1);
}

/* --- pushing --- */

typedef int push_results(lua_State *L, const pushes *p);

static int push_one_result(lua_State *L, const pushes *p)
{
    const mq_op *op = &p->each[0].op;
    if (!op->err) {
        lua_pushstring(L, op->id_text);
        lua_pushboolean(L, op->duplicate);
        return 2;
    }
    lua_pushnil(L);
    lua_pushstring(L, op->error);
    lua_pushstring(L, mqueue_code(op->err));
    return 3;
}

static int push_all_results(lua_State *L, const pushes *p)
{
    const mq_op *failed = NULL;
    lua_Integer duplicates = 0;
    lua_createtable(L, (int)p->n, 0);
    for (unsigned i = 0; i < p->n; i++) {
        const mq_op *op = &p->each[i].op;
        if (op->err && !failed)
            failed = op;
        if (op->err)
            lua_pushboolean(L, false);
        else
            lua_pushstring(L, op->id_text);
        duplicates += !op->err && op->duplicate;
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (!failed) {
        lua_pushinteger(L, duplicates);
        return 2;
    }
    lua_pushnil(L);
    lua_pushstring(L, failed->error);
    lua_pushstring(L, mqueue_code(failed->err));
    lua_pushvalue(L, -4);
    return 4;
}

static int conclude(lua_State *L, int box, push_results *results)
{
    int n = results(L, (const pushes *)wait_in(L, box));
    keep_box(L, box);
    return n;
}

static int go_on(lua_State *L, int box, push_results *results)
{
    if (!wait_is_over(&((pushes *)wait_in(L, box))->wait))
        return luaL_error(L, "the time is over");
    return conclude(L, box, results);
}

static int on_one_over(lua_State *L, int status, lua_KContext box)
{
    (void)status;
    return go_on(L, (int)box, push_one_result);
}

static int on_all_over(lua_State *L, int status, lua_KContext box)
{
    (void)status;
    return go_on(L, (int)box, push_all_results);
}

/* Outside a handler the thread waits, for one after the other. */
static void push_here(mq *queues, pushes *p)
{
    for (unsigned i = 0; i < p->n; i++)
        (void)mq_call(queues, &p->each[i].op);
}

/* Push what is in the box at the top. */
static int push(lua_State *L, mq *queues, pushes *p, push_results *results, lua_KFunction over)
{
    int box = lua_gettop(L);
    if (!vm_of(L)->running) {
        push_here(queues, p);
        return conclude(L, box, results);
    }
    wait_init(&p->wait, vm_of(L), free_pushes);
    atomic_store_explicit(&p->left, p->n, memory_order_relaxed);
    for (unsigned i = 0; i < p->n; i++)
        mq_submit(queues, &p->each[i].op);
    if (!wait_begins(&p->wait))
        return conclude(L, box, results);
    take_box(L);
    return wait_yield(L, &p->wait, 0, over);
}

static mq *check_way(lua_State *L, const char *title)
{
    mq *queues = mqueue_queues(L, title);
    if (vm_of(L)->running && !wait_is_possible(L))
        wait_refuse(L, title);
    return queues;
}

int push_on_push(lua_State *L)
{
    static const char title[] = "queue.push";
    mq *queues = check_way(L, title);
    lua_settop(L, 7);
    pushes *p = push_box(L, 1);
    set_queue(L, p, title);
    set_body(L, 2, p, &p->each[0], title);
    set_id(L, 4, p, &p->each[0], title);
    set_op(L, p, &p->each[0]);
    return push(L, queues, p, push_one_result, on_one_over);
}

int push_on_push_all(lua_State *L)
{
    static const char title[] = "queue.push_all";
    mq *queues = check_way(L, title);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 7);
    size_t n = lua_rawlen(L, 2);
    luaL_argcheck(L, n <= MOST, 2, "1024 messages at most");
    pushes *p = push_box(L, n ? (unsigned)n : 1);
    p->n = (unsigned)n;
    set_queue(L, p, title);
    for (unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        set_body(L, lua_gettop(L), p, &p->each[i], title);
        if (lua_istable(L, 4))
            lua_rawgeti(L, 4, (lua_Integer)i + 1);
        else
            lua_pushnil(L);
        set_id(L, lua_gettop(L), p, &p->each[i], title);
        lua_pop(L, 2);
    }
    for (unsigned i = 0; i < n; i++) /* the texts stay where they are from here on */
        set_op(L, p, &p->each[i]);
    return n ? push(L, queues, p, push_all_results, on_all_over) : conclude(L, 8, push_all_results);
}
