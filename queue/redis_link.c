#include "queue/redis_link.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    RETRY_FIRST_MS = 25,
    RETRY_MAX_MS = 400,
    CONNECT_MAX_MS = 900,  /* a SYN that was lost is sent again later and later: better a new one */
    READS_MAX = 64,        /* of 16 KiB each, before others have their turn */
    KEEPALIVE_SECONDS = 1, /* silence after which the kernel asks whether the peer is there */
    KEEPALIVE_COUNT = 5
};

typedef enum greeting { GREETING_AUTH, GREETING_SELECT, GREETING_PING } greeting;

/* --- errors --- */

int redis_error_of(const char *text)
{
    static const struct {
        const char *begin;
        int err;
    } known[] = {
        {"OOM ", -ENOSPC},        {"MISCONF ", -EIO},
        {"READONLY ", -EAGAIN},   {"LOADING ", -EAGAIN},
        {"MASTERDOWN ", -EAGAIN}, {"BUSY ", -EAGAIN},
        {"TRYAGAIN ", -EAGAIN},   {"CLUSTERDOWN ", -EAGAIN},
        {"NOREPLICAS ", -EAGAIN}, {"ERR max number of clients", -EAGAIN},
        {"WRONGPASS ", -EACCES},  {"NOAUTH ", -EACCES},
        {"NOPERM ", -EACCES},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(text, known[i].begin, strlen(known[i].begin)) == 0)
            return known[i].err;
    return -EPROTO;
}

static void set_reason(redis_link *l, int err, const char *why)
{
    if (l->err)
        return;
    l->err = err;
    snprintf(l->why, sizeof(l->why), "%s", why);
}

void redis_link_note(redis_link *l)
{
    const redisAsyncContext *c = l->context;
    if (l->err)
        return;
    if (l->guard.refused)
        set_reason(l, -EPROTO, "the server sent what it was not asked for");
    else if (c && c->c.err == REDIS_ERR_PROTOCOL)
        set_reason(l, -EPROTO, "the server does not speak as Redis does");
    else
        set_reason(l, -ENOTCONN, c && c->c.errstr[0] ? c->c.errstr : "the connection ended");
}

/* --- the end --- */

static void plan_retry(redis_link *l, bool was_ready)
{
    int64_t wait_ms = RETRY_MAX_MS;
    if (was_ready)
        l->failures = 0;
    if (l->failures < 5)
        wait_ms = l->failures == 0 ? 0 : RETRY_FIRST_MS << (l->failures - 1);
    l->failures++;
    l->retry_ms = redis_now_ms() + wait_ms;
}

static void forget(redis_link *l)
{
    bool was_ready = l->state == LINK_READY;
    redis_link_note(l);
    l->context = NULL;
    l->state = LINK_DOWN;
    plan_retry(l, was_ready);
    l->changed(l);
}

void redis_link_close(redis_link *l, int err, const char *why)
{
    if (!l->context)
        return;
    set_reason(l, err, why);
    redisAsyncFree(l->context); /* inside of a callback: not before that has returned */
}

/* --- hiredis' hooks --- */

static void on_add_read(void *user)
{
    ((redis_link *)user)->wants_read = true;
}

static void on_del_read(void *user)
{
    ((redis_link *)user)->wants_read = false;
}

static void on_add_write(void *user)
{
    ((redis_link *)user)->wants_write = true;
}

static void on_del_write(void *user)
{
    ((redis_link *)user)->wants_write = false;
}

/* The context is being freed, by whomever. */
static void on_cleanup(void *user)
{
    forget(user);
}

/* --- greeting --- */

static void on_greeted(redis_link *l, greeting step, const redisReply *reply)
{
    char why[REDIS_ERROR_BYTES];
    static const char *const what[] = {"the password", "the database", "the connection"};
    static const int errs[] = {-EACCES, -EINVAL, -EAGAIN}; /* where its own text says no more */
    if (reply->type == REDIS_REPLY_ERROR) {
        int err = redis_error_of(reply->str);
        snprintf(why, sizeof(why), "the server refuses %s: %s", what[step], reply->str);
        redis_link_close(l, err == -EPROTO ? errs[step] : err, why);
    } else if (step == GREETING_PING) {
        if (!str_eq(redis_text(reply), STR("PONG"))) {
            redis_link_close(l, -EPROTO, "the server does not answer as Redis does");
            return;
        }
        l->state = LINK_READY;
        l->failures = 0;
        l->guard.lets_all = l->read != NULL;
        l->changed(l);
    }
}

static void on_greeting(redisAsyncContext *c, void *reply, void *user)
{
    redis_link *l = c->data;
    if (reply && l->state == LINK_GREETING && !(c->c.flags & REDIS_FREEING))
        on_greeted(l, (greeting)(uintptr_t)user, reply);
}

static void send_greeting(redis_link *l, greeting step, int n, const char **words)
{
    redisAsyncCommandArgv(l->context, on_greeting, (void *)(uintptr_t)step, n, words, NULL);
}

static void greet(redis_link *l)
{
    const redis_address *a = &l->options->address;
    char db[16];
    if (a->password[0] && a->user[0])
        send_greeting(l, GREETING_AUTH, 3, (const char *[]){"AUTH", a->user, a->password});
    else if (a->password[0])
        send_greeting(l, GREETING_AUTH, 2, (const char *[]){"AUTH", a->password});
    if (a->db > 0) {
        snprintf(db, sizeof(db), "%d", a->db);
        send_greeting(l, GREETING_SELECT, 2, (const char *[]){"SELECT", db});
    }
    send_greeting(l, GREETING_PING, 1, (const char *[]){"PING"});
}

static void on_connect(const redisAsyncContext *c, int status)
{
    redis_link *l = c->data;
    if (status != REDIS_OK)
        return; /* the context is freed next */
    l->state = LINK_GREETING;
    l->until_ms = redis_now_ms() + l->options->timeout_ms;
    greet(l);
}

static void set_socket(int fd)
{
    static const struct {
        int level, name, value;
    } all[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
               {SOL_SOCKET, SO_KEEPALIVE, 1},
               {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_SECONDS},
               {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_SECONDS},
               {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) /* a Unix socket knows none; it needs none */
        setsockopt(fd, all[i].level, all[i].name, &all[i].value, sizeof(int));
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void redis_link_open(redis_link *l, int64_t now_ms)
{
    if (l->context || now_ms < l->retry_ms)
        return;
    const redis_address *a = &l->options->address;
    int64_t most_ms = l->options->timeout_ms < CONNECT_MAX_MS ? l->options->timeout_ms : CONNECT_MAX_MS;
    redisAsyncContext *c = a->host[0] ? redisAsyncConnect(a->host, a->port) : redisAsyncConnectUnix(a->path);
    l->err = 0;
    l->guard.refused = false;
    l->wants_read = l->wants_write = false;
    l->context = c;
    if (!c || c->err) {
        redis_link_note(l);
        l->context = NULL;
        if (c)
            redisAsyncFree(c);
        forget(l);
        return;
    }
    l->state = LINK_CONNECTING;
    l->until_ms = now_ms + most_ms;
    set_socket(c->c.fd);
    redis_guard_init(&l->guard, c);
    c->data = c->ev.data = l;
    c->ev.addRead = on_add_read;
    c->ev.delRead = on_del_read;
    c->ev.addWrite = on_add_write;
    c->ev.delWrite = on_del_write;
    c->ev.cleanup = on_cleanup;
    redisAsyncSetConnectCallback(c, on_connect);
}

void redis_link_expire(redis_link *l, int64_t now_ms)
{
    if (l->context && l->state != LINK_READY && now_ms >= l->until_ms)
        redis_link_close(l, -ETIMEDOUT,
                         l->state == LINK_CONNECTING ? "cannot connect in time" : "no answer in time");
}

int64_t redis_link_due(const redis_link *l)
{
    if (!l->context)
        return l->retry_ms;
    return l->state == LINK_READY ? INT64_MAX : l->until_ms;
}

/* --- what comes and goes --- */

bool redis_link_poll(const redis_link *l, struct pollfd *ret)
{
    *ret = (struct pollfd){.fd = -1};
    if (!l->context)
        return false;
    bool reads = l->wants_read || l->state == LINK_READY; /* to notice the end while nothing is under way */
    ret->fd = l->context->c.fd;
    ret->events = (short)((reads ? POLLIN : 0) | (l->wants_write ? POLLOUT : 0));
    return true;
}

static bool more_to_read(const redis_link *l)
{
    struct pollfd one = {.events = POLLIN};
    if (!l->context)
        return false;
    one.fd = l->context->c.fd;
    return poll(&one, 1, 0) == 1 && (one.revents & POLLIN);
}

static void read_some(redis_link *l)
{
    if (l->state != LINK_READY || !l->read)
        redisAsyncHandleRead(l->context);
    else if (l->read(l) < 0)
        redis_link_close(l, 0, "");
}

void redis_link_handle(redis_link *l, short events)
{
    if (l->context && (events & POLLOUT))
        redisAsyncHandleWrite(l->context);
    if (l->context && (events & (POLLIN | POLLERR | POLLHUP))) {
        if (l->state == LINK_CONNECTING) {
            redisAsyncHandleWrite(l->context); /* tells why it failed */
            return;
        }
        int reads = 0;
        do
            read_some(l);
        while (++reads < READS_MAX && more_to_read(l));
    }
}

void redis_link_flush(redis_link *l)
{
    if (l->context && l->wants_write && l->state >= LINK_GREETING)
        redisAsyncHandleWrite(l->context);
}
