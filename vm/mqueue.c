#include "vm/mqueue.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "queue/mq.h"
#include "vm/jobs.h"
#include "vm/json.h"
#include "vm/lengths.h"
#include "vm/load.h"
#include "vm/push.h"
#include "vm/wait.h"

#define JOB_MT "poolsrv.job"
#define BODY   "poolsrv.queue.body"

enum { KEEP_BYTES = 64 * 1024, MS_PER_S = 1000 };

/* An operation that was asked for. */
typedef struct asked {
    wait wait; /* first */
    mq_op op;
    buf body;
    char queue[MQ_NAME_BYTES], id[MQ_ID_BYTES];
} asked;

static void free_asked(await *a)
{
    asked *q = (asked *)a;
    if (q->op.verb == MQ_PEEK || q->op.verb == MQ_PROGRESS)
        mq_message_free(q->op.messages);
    free(q->op.stats);
    buf_fini(&q->body);
    free(q);
}

mq *mqueue_queues(lua_State *L, const char *title)
{
    const vm_host *host = vm_of(L)->config.host;
    mq *q = host ? host->queues(host->user) : NULL;
    if (!q)
        load_raise(L, "%s: the queues are open once the app is loaded: in api.on_start, handlers and jobs",
                   title);
    return q;
}

/* --- operations --- */

/* An argument that is a name. */
str mqueue_check_text(lua_State *L, int arg, const char *title, const char *field, bool (*is_good)(str),
                      const char *wanted)
{
    str text = {0};
    if (lua_type(L, arg) == LUA_TSTRING)
        text.p = lua_tolstring(L, arg, &text.n);
    if (!text.p || !is_good(text))
        load_raise(L, "%s: %s = %s: expected %s", title, field, luaL_tolstring(L, arg, NULL), wanted);
    return text;
}

const char mqueue_name_wanted[] = "a queue's name, of 1 to 127 letters, digits and \".\", \"_\", \"-\"";
static const char channel_wanted[] = "a channel's name, of 1 to 127 letters, digits and \".\", \"_\", \"-\"";
const char mqueue_id_wanted[] = "a message's id, of 1 to 127 printable ASCII characters without spaces";

static bool is_any(str name)
{
    return name.n == 0 || mq_name_is_good(name);
}

/* Begin one. The fields that are arrays are left as they are. */
static asked *new_asked(lua_State *L, mq_verb verb)
{
    asked *q = malloc(sizeof(*q));
    if (!q)
        load_no_memory(L);
    q->body = (buf){0};
    q->op.verb = verb;
    q->op.queue = q->queue;
    q->op.id = NULL;
    q->op.body = (str){0};
    q->op.note = q->op.to = NULL;
    q->op.delay_ms = q->op.lease_ms = q->op.window_ms = q->op.wait_ms = q->op.moment_ms = 0;
    q->op.progress = 0;
    q->op.priority = 0;
    q->op.most = 0;
    q->op.messages = NULL;
    q->op.stats = NULL;
    q->op.count = 0;
    q->op.duplicate = false;
    q->op.err = 0;
    wait_init(&q->wait, vm_of(L), free_asked);
    return q;
}

static void on_done(mq_op *op)
{
    wait_over(op->user);
}

typedef int push_results(lua_State *L, const mq_op *op);

const char *mqueue_code(int err)
{
    switch (err) {
    case -EAGAIN:
        return "full";
    case -ENOSPC:
        return "no_space";
    case -EIO:
        return "io";
    case -ETIMEDOUT:
    case -ENOTCONN:
        return "unavailable";
    case -ESHUTDOWN:
        return "stopping";
    default:
        return "failed";
    }
}

/* Push nil, why, and a word for it; or the results. */
static int push_outcome(lua_State *L, const mq_op *op, push_results *results)
{
    if (!op->err)
        return results(L, op);
    lua_pushnil(L);
    lua_pushstring(L, op->error);
    lua_pushstring(L, mqueue_code(op->err));
    return 3;
}

static push_results *const results_of[MQ_PUBLISH + 1];

static int on_over(lua_State *L, int status, lua_KContext box)
{
    asked *q = (asked *)wait_in(L, (int)box);
    (void)status;
    if (!wait_is_over(&q->wait))
        return luaL_error(L, "the time is over");
    return push_outcome(L, &q->op, results_of[q->op.verb]);
}

/* Ask for it, wait if need be, and push the outcome. Owns: q, whose texts were all copied. An empty box is at
 * the top: from when it has q on nothing leaks. */
static int ask(lua_State *L, mq *queues, asked *q, bool can_wait)
{
    wait_fill(L, -1, &q->wait);
    q->op.done = on_done;
    q->op.user = &q->wait;
    if (can_wait) {
        mq_submit(queues, &q->op);
        if (wait_begins(&q->wait))
            return wait_yield(L, &q->wait, 0, on_over);
        return push_outcome(L, &q->op, results_of[q->op.verb]);
    }
    await_unref(&q->wait.await); /* the worker's */
    mq_call(queues, &q->op);
    return push_outcome(L, &q->op, results_of[q->op.verb]);
}

/* Where a handler runs it waits; else the thread does. Push the box for it. */
static bool push_way(lua_State *L, const char *title)
{
    bool can_wait = wait_is_possible(L);
    if (!can_wait && vm_of(L)->running)
        wait_refuse(L, title);
    wait_push_box(L);
    return can_wait;
}

/* --- channels --- */

static buf *body_of(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, BODY);
    buf *body = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return body;
}

/* Begin one with the value at 2 as its body. */
static asked *new_asked_with(lua_State *L, mq_verb verb, str name, const char *title)
{
    buf *body = body_of(L);
    body->n = 0;
    load_encode(L, 2, body, title);
    if (buf_add(body, "", 1) < 0)
        load_no_memory(L);
    asked *q = new_asked(L, verb);
    memcpy(q->queue, name.p, name.n + 1);
    q->body = *body; /* an engine may need it for longer than this call */
    *body = (buf){0};
    q->op.body = (str){q->body.p, q->body.n - 1};
    return q;
}

/* publish(channel, value) -> true; or nil, why, and a word for it */
static int on_publish(lua_State *L)
{
    mq *queues = mqueue_queues(L, "pubsub.publish");
    str name = mqueue_check_text(L, 1, "pubsub.publish", "channel", mq_name_is_good, channel_wanted);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    bool can_wait = push_way(L, "pubsub.publish");
    return ask(L, queues, new_asked_with(L, MQ_PUBLISH, name, "pubsub.publish"), can_wait);
}

/* --- looking --- */

static int push_stats(lua_State *L, const mq_op *op)
{
    int64_t now_ms = mq_now_ms();
    lua_createtable(L, (int)op->count, 0);
    for (uint64_t i = 0; i < op->count; i++) {
        const mq_stats *s = &op->stats[i];
        lua_createtable(L, 0, 5);
        lua_pushstring(L, s->name);
        lua_setfield(L, -2, "queue");
        lua_pushinteger(L, (lua_Integer)s->ready);
        lua_setfield(L, -2, "ready");
        lua_pushinteger(L, (lua_Integer)s->delayed);
        lua_setfield(L, -2, "delayed");
        lua_pushinteger(L, (lua_Integer)s->taken);
        lua_setfield(L, -2, "taken");
        int64_t age_ms = s->oldest_ms && s->oldest_ms < now_ms ? now_ms - s->oldest_ms : 0;
        lua_pushnumber(L, (double)age_ms / MS_PER_S);
        lua_setfield(L, -2, "oldest");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void set_string(lua_State *L, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int push_peeked(lua_State *L, const mq_op *op)
{
    int64_t now_ms = mq_now_ms();
    lua_Integer n = 0;
    lua_newtable(L);
    for (const mq_message *m = op->messages; m; m = m->next) {
        json_error error;
        lua_createtable(L, 0, 8);
        if (json_decode(L, m->body, &error) == 0)
            lua_setfield(L, -2, "body");
        set_string(L, "id", m->id);
        set_string(L, "from", m->from);
        set_string(L, "error", m->note);
        set_string(L, "state", m->taken ? "taken" : m->due_ms > now_ms ? "delayed" : "ready");
        lua_pushinteger(L, (lua_Integer)m->attempt);
        lua_setfield(L, -2, "attempts");
        lua_pushinteger(L, m->priority);
        lua_setfield(L, -2, "priority");
        lua_pushnumber(L, (double)m->pushed_ms / MS_PER_S);
        lua_setfield(L, -2, "enqueued_at");
        lua_pushnumber(L, (double)m->due_ms / MS_PER_S);
        lua_setfield(L, -2, "due_at");
        if (m->progress >= 0) {
            lua_pushnumber(L, m->progress);
            lua_setfield(L, -2, "progress");
        }
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int push_count(lua_State *L, const mq_op *op)
{
    lua_pushinteger(L, (lua_Integer)op->count);
    return 1;
}

static int push_nothing(lua_State *L, const mq_op *op)
{
    (void)op;
    lua_pushboolean(L, true);
    return 1;
}

static push_results *const results_of[MQ_PUBLISH + 1] = {
    [MQ_STATS] = push_stats, [MQ_PEEK] = push_peeked,      [MQ_REVIVE] = push_count,
    [MQ_PURGE] = push_count, [MQ_PROGRESS] = push_nothing, [MQ_PUBLISH] = push_nothing,
};

/* The queue is the first argument; "" means all, where that makes sense. */
static int ask_about(lua_State *L, mq_verb verb, const char *title, bool (*is_good)(str), unsigned most)
{
    mq *queues = mqueue_queues(L, title);
    str name = mqueue_check_text(L, 1, title, "queue", is_good, mqueue_name_wanted), id = STR("");
    if (verb == MQ_REVIVE && !lua_isnoneornil(L, 2))
        id = mqueue_check_text(L, 2, title, "id", mq_id_is_good, mqueue_id_wanted);
    bool can_wait = push_way(L, title);
    asked *q = new_asked(L, verb);
    memcpy(q->queue, name.p, name.n + 1);
    memcpy(q->id, id.p, id.n + 1);
    q->op.id = q->id;
    q->op.most = most;
    return ask(L, queues, q, can_wait);
}

static int on_stats(lua_State *L)
{
    return ask_about(L, MQ_STATS, "queue.stats", is_any, 0);
}

/* peek(queue, most) */
static int on_peek(lua_State *L)
{
    int isnum;
    lua_Integer most = lua_tointegerx(L, 2, &isnum);
    if (!isnum || most < 1 || most > MQ_TAKE_MAX)
        load_raise(L, "queue.peek: %s: expected how many messages, 1 to %d", luaL_tolstring(L, 2, NULL),
                   (int)MQ_TAKE_MAX);
    return ask_about(L, MQ_PEEK, "queue.peek", mq_name_is_good, (unsigned)most);
}

static int on_retry(lua_State *L)
{
    return ask_about(L, MQ_REVIVE, "queue.retry", mq_name_is_good, 0);
}

static int on_purge(lua_State *L)
{
    return ask_about(L, MQ_PURGE, "queue.purge", mq_name_is_good, 0);
}

/* --- what a consumer is given --- */

/* The message of the job that runs, whose table is at 1. */
static const mq_message *check_message(lua_State *L, const char *title)
{
    const vm_run *run = vm_of(L)->running;
    const job *j = run ? run->request.job : NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "id");
    const char *id = lua_tostring(L, -1);
    for (const mq_message *m = j && j->kind == JOB_CONSUME ? j->messages : NULL; m && id; m = m->next)
        if (strcmp(m->id, id) == 0)
            return m;
    load_raise(L, "%s: the job is over, or another handler's", title);
}

/* job:extend(seconds): so long from now */
static int on_extend(lua_State *L)
{
    const vm_host *host = vm_of(L)->config.host;
    (void)check_message(L, "job:extend");
    double seconds = lua_tonumber(L, 2);
    if (!(seconds > 0 && seconds <= 1e6))
        load_raise(L, "job:extend: %s: expected seconds from now, up to 1000000", luaL_tolstring(L, 2, NULL));
    host->extend(host->user, vm_of(L)->running->request.host, (uint64_t)(seconds * 1e9));
    return 0;
}

/* job:progress(n): nobody waits for it to be written down */
static int on_progress(lua_State *L)
{
    const mq_message *m = check_message(L, "job:progress");
    double progress = lua_tonumber(L, 2);
    if (lua_type(L, 2) != LUA_TNUMBER || !(progress >= 0 && progress < 1e300))
        load_raise(L, "job:progress: %s: expected a number from 0 on", luaL_tolstring(L, 2, NULL));
    mq *queues = mqueue_queues(L, "job:progress");
    asked *q = new_asked(L, MQ_PROGRESS);
    mq_message *copy = mq_message_new(STR(""), m->id, NULL, NULL, m->token);
    const char *name = vm_of(L)->running->request.job->name;
    if (!copy) {
        await_unref(&q->wait.await);
        await_unref(&q->wait.await);
        return load_no_memory(L);
    }
    copy->handle = m->handle;
    copy->lease = m->lease;
    snprintf(q->queue, sizeof(q->queue), "%s", name);
    q->op.messages = copy;
    q->op.progress = progress;
    q->op.done = on_done;
    q->op.user = &q->wait;
    mq_submit(queues, &q->op);
    await_unref(&q->wait.await); /* nobody waits */
    return 0;
}

static void install_job_methods(lua_State *L)
{
    static const luaL_Reg methods[] = {{"extend", on_extend}, {"progress", on_progress}, {NULL, NULL}};
    luaL_newmetatable(L, JOB_MT);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* --- the modules --- */

static int on_open_pubsub(lua_State *L)
{
    load_chunk(L, "pubsub", 1);
    lua_pushcfunction(L, on_publish);
    jobs_push_define(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_call(L, 3, 1);
    return 1;
}

static int on_open(lua_State *L)
{
    static const luaL_Reg native[] = {{"push", push_on_push}, {"stats", on_stats}, {"peek", on_peek},
                                      {"retry", on_retry},    {"purge", on_purge}, {NULL, NULL}};
    load_chunk(L, "queue", 1);
    luaL_newlib(L, native);
    jobs_push_define(L);
    lua_setfield(L, -2, "define");
    lua_pushcfunction(L, lengths_read);
    lua_setfield(L, -2, "duration");
    lua_pushcfunction(L, push_on_push_all);
    lua_setfield(L, -2, "push_all");
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_call(L, 2, 1);
    return 1;
}

static int on_body_gc(lua_State *L)
{
    buf_fini(lua_touserdata(L, 1));
    return 0;
}

void mqueue_install(lua_State *L)
{
    install_job_methods(L);
    buf *body = lua_newuserdatauv(L, sizeof(*body), 0);
    *body = (buf){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_body_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, BODY);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, on_open);
    lua_setfield(L, -2, "poolsrv.queue");
    lua_pushcfunction(L, on_open_pubsub);
    lua_setfield(L, -2, "poolsrv.pubsub");
    lua_pop(L, 1);
}
