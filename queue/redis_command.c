#include <assert.h>
#include <errno.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/redis_internal.h"

enum { SCRIPT_TRIES = 4, SCRIPT_ARGUMENTS = 2 };

void redis_commands_init(redis_commands *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void append(redis_commands *list, redis_command *c)
{
    c->next = NULL;
    *list->end = c;
    list->end = &c->next;
}

static redis_command *shift(redis_commands *list)
{
    redis_command *c = list->first;
    if (c && !(list->first = c->next))
        list->end = &list->first;
    return c;
}

static void append_all(redis_commands *to, redis_commands *from)
{
    if (!from->first)
        return;
    *to->end = from->first;
    to->end = from->end;
    redis_commands_init(from);
}

/* --- the end of one --- */

static void finish(redis_command *c, int err, const char *error, const redis_reply *reply)
{
    c->done(c->user, err, error, reply);
    redisFreeCommand(c->bytes);
    free(c);
}

static void fail(redis_command *c, int err, const char *what)
{
    char error[REDIS_ERROR_BYTES];
    snprintf(error, sizeof(error), "%.120s: %.130s", c->owner->name, what);
    finish(c, err, error, NULL);
}

/* No reply came, since its connection has ended. */
static void fail_unanswered(redis_command *c)
{
    redis_link *l = &c->owner->commands;
    char what[REDIS_ERROR_BYTES];
    redis_link_note(l);
    if (c->late)
        snprintf(what, sizeof(what), "no answer within %lld ms, whether it was done is not known",
                 (long long)c->owner->options.timeout_ms);
    else
        snprintf(what, sizeof(what), "whether it was done is not known, the connection ended: %.80s", l->why);
    fail(c, c->late ? -ETIMEDOUT : -ENOTCONN, what);
}

/* --- sending --- */

static void on_reply(redisAsyncContext *context, void *reply, void *user);

static void send_one(redis *r, redis_command *c)
{
    if (redisAsyncFormattedCommand(r->commands.context, on_reply, c, c->bytes, c->n) != REDIS_OK) {
        fail(c, -ENOTCONN, "not connected: the connection is being closed");
        return;
    }
    append(&r->under_way, c);
    if (!c->script) {
        redisFreeCommand(c->bytes);
        c->bytes = NULL;
    }
}

static void on_told(redisAsyncContext *context, void *reply, void *user)
{
    redis *r = ((redis_link *)context->data)->user;
    (void)reply;
    if (r->told == user)
        r->told = NULL;
}

/* The server does not know the script: tell it, unless that is under way, and ask again behind that. */
static void send_again(redis *r, redis_command *c)
{
    const redis_script *script = c->script;
    const char *words[] = {"SCRIPT", "LOAD", script->text.p};
    const size_t bytes[] = {6, 4, script->text.n};
    c->tries++;
    c->until_ms = redis_now_ms() + r->options.timeout_ms;
    if (r->told != script) {
        r->told = script;
        redisAsyncCommandArgv(r->commands.context, on_told, (void *)(uintptr_t)script, 3, words, bytes);
    }
    send_one(r, c);
}

static void on_reply(redisAsyncContext *context, void *got, void *user)
{
    redis_command *c = user;
    redis *r = c->owner;
    redisReply *reply = got;
    bool ending = context->c.flags & (REDIS_FREEING | REDIS_DISCONNECTING);
    const redis_command *first = shift(&r->under_way);
    assert(first == c); /* replies come in the order of the commands */
    (void)first;
    if (!reply)
        fail_unanswered(c);
    else if (reply->type != REDIS_REPLY_ERROR)
        finish(c, 0, "", reply);
    else if (c->script && c->tries < SCRIPT_TRIES && !ending && strncmp(reply->str, "NOSCRIPT", 8) == 0)
        send_again(r, c);
    else
        fail(c, redis_error_of(reply->str), reply->str);
}

void redis_commands_send(redis *r)
{
    pthread_mutex_lock(&r->lock);
    append_all(&r->waiting, &r->incoming);
    pthread_mutex_unlock(&r->lock);
    if (r->commands.state != LINK_READY)
        return;
    for (redis_command *c; (c = shift(&r->waiting));)
        send_one(r, c);
}

/* --- deadlines --- */

void redis_commands_expire(redis *r, int64_t now_ms, bool reading)
{
    char what[REDIS_ERROR_BYTES];
    while (r->waiting.first && r->waiting.first->until_ms <= now_ms) {
        snprintf(what, sizeof(what), "not connected: %.200s",
                 r->commands.why[0] ? r->commands.why : "no answer in time");
        fail(shift(&r->waiting), -ENOTCONN, what);
    }
    /* This thread may have been late itself: replies that are there already are taken first, for a while. */
    int64_t grace_ms = reading ? r->options.timeout_ms : 0;
    if (!r->under_way.first || r->under_way.first->until_ms + grace_ms > now_ms)
        return;
    for (redis_command *c = r->under_way.first; c; c = c->next)
        c->late = c->until_ms <= now_ms;
    redis_link_close(&r->commands, -ETIMEDOUT, "no answer in time");
}

int64_t redis_commands_due(const redis *r)
{
    int64_t waiting = r->waiting.first ? r->waiting.first->until_ms : INT64_MAX;
    int64_t under_way = r->under_way.first ? r->under_way.first->until_ms : INT64_MAX;
    return waiting < under_way ? waiting : under_way;
}

void redis_commands_refuse(redis *r, int err)
{
    for (redis_command *c; (c = shift(&r->waiting));)
        fail(c, err, strerror(-err));
}

/* --- submitting --- */

static redis_command *format(redis_arguments a)
{
    redis_command *c = calloc(1, sizeof(*c));
    int n = c ? redisFormatCommandArgv(&c->bytes, a.n, (const char **)(uintptr_t)a.p, a.bytes) : -1;
    if (n < 0) {
        free(c);
        return NULL;
    }
    c->n = (size_t)n;
    return c;
}

static void submit(redis *r, redis_arguments a, const redis_script *script, redis_done *done, void *user)
{
    redis_command *c = format(a);
    if (!c) {
        done(user, -ENOMEM, "out of memory", NULL);
        return;
    }
    c->owner = r;
    c->script = script;
    c->done = done;
    c->user = user;
    c->until_ms = redis_now_ms() + r->options.timeout_ms;
    pthread_mutex_lock(&r->lock);
    bool closing = r->closing;
    if (!closing)
        append(&r->incoming, c);
    pthread_mutex_unlock(&r->lock);
    if (closing)
        fail(c, -ESHUTDOWN, "the server is being stopped");
    else
        wake_signal(&r->wake);
}

void redis_submit(redis *r, redis_arguments arguments, redis_done *done, void *user)
{
    submit(r, arguments, NULL, done, user);
}

void redis_script_init(redis_script *script, str text)
{
    script->text = text;
    sha1_hex(text, script->digest);
}

void redis_submit_script(redis *r, const redis_script *script, redis_arguments a, redis_done *done,
                         void *user)
{
    const char **p = malloc((size_t)(a.n + 1) * (sizeof(*p) + sizeof(size_t)));
    if (!p) {
        done(user, -ENOMEM, "out of memory", NULL);
        return;
    }
    size_t *bytes = (size_t *)(uintptr_t)(p + a.n + 1);
    p[0] = "EVALSHA";
    bytes[0] = 7;
    p[1] = script->digest;
    bytes[1] = SHA1_HEX_BYTES - 1;
    for (int i = 1; i < a.n; i++) {
        p[i + 1] = a.p[i];
        bytes[i + 1] = a.bytes[i];
    }
    submit(r, (redis_arguments){a.n + 1, p, bytes}, script, done, user);
    free((void *)p);
}
