#include "queue/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/redis_internal.h"

int64_t redis_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void redis_tell(redis *r, int level, const char *what, const char *why)
{
    char text[sizeof(r->name) + sizeof(r->commands.why) + REDIS_ERROR_BYTES];
    snprintf(text, sizeof(text), "%s: %s%s%s", r->name, what, why[0] ? ": " : "", why);
    if (r->options.tell)
        r->options.tell(r->options.tell_user, level, text);
}

/* --- the connection for commands --- */

static bool is_closing(redis *r)
{
    pthread_mutex_lock(&r->lock);
    bool closing = r->closing;
    pthread_mutex_unlock(&r->lock);
    return closing;
}

static void end_first_attempt(redis *r, int err)
{
    pthread_mutex_lock(&r->lock);
    if (!r->tried) {
        r->tried = true;
        r->tried_err = err;
        memcpy(r->tried_why, r->commands.why, sizeof(r->tried_why));
        pthread_cond_broadcast(&r->tried_changed);
    }
    pthread_mutex_unlock(&r->lock);
}

static bool is_hopeless(int err)
{
    return err == -EACCES || err == -EINVAL || err == -EPROTO;
}

static void on_ready(redis *r)
{
    if (r->is_missed)
        redis_tell(r, 2, "connected again", "");
    r->was_there = true;
    r->is_missed = r->is_hopeless = false;
    end_first_attempt(r, 0);
}

/* Told once, and once more if it turns out to be the password or the like. Of the first attempt redis_open
 * says that itself. */
static void on_lost(redis *r)
{
    int err = r->commands.err;
    bool hopeless = is_hopeless(err), is_news = !r->is_missed || (hopeless && !r->is_hopeless);
    if (is_news && (r->tried || !hopeless) && !is_closing(r))
        redis_tell(r, 1,
                   r->was_there ? "not connected any more, and tried again"
                                : "no connection yet, and tried again",
                   r->commands.why);
    r->told = NULL;
    r->is_missed = true;
    r->is_hopeless |= hopeless;
    end_first_attempt(r, err);
}

static void on_changed(redis_link *l)
{
    if (l->state == LINK_READY)
        on_ready(l->user);
    else
        on_lost(l->user);
}

/* --- the thread --- */

static void take_turn(redis *r, int64_t now_ms)
{
    if (!r->options.turn)
        return;
    pthread_mutex_lock(&r->lock);
    bool due = r->turn_wanted || now_ms >= r->turn_ms;
    r->turn_wanted = false;
    pthread_mutex_unlock(&r->lock);
    if (due)
        r->turn_ms = now_ms + r->options.turn(r->options.turn_user);
}

/* Nothing came since it was looked at: this thread may sleep. */
static bool nothing_came(redis *r)
{
    pthread_mutex_lock(&r->lock);
    bool nothing = !r->incoming.first && !r->channels_changed && !r->turn_wanted;
    pthread_mutex_unlock(&r->lock);
    return nothing;
}

static int sleep_ms(const redis *r, bool subscribes, bool closing, int64_t now_ms)
{
    const int64_t due[] = {redis_commands_due(r), redis_link_due(&r->commands),
                           r->options.turn && !closing ? r->turn_ms : INT64_MAX,
                           subscribes && !closing ? redis_link_due(&r->subscriptions) : INT64_MAX};
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++)
        first = due[i] < first ? due[i] : first;
    if (first <= now_ms)
        return 0;
    return first - now_ms > INT_MAX ? INT_MAX : (int)(first - now_ms);
}

/* Sleep until something happens. Returns: whether replies came. */
static bool rest(redis *r, bool subscribes, bool closing)
{
    struct pollfd fds[3] = {{.fd = wake_fd(&r->wake), .events = POLLIN}};
    redis_link_poll(&r->commands, &fds[1]);
    redis_link_poll(&r->subscriptions, &fds[2]);
    wake_prepare(&r->wake);
    bool idle = nothing_came(r) && closing == is_closing(r);
    int n = poll(fds, 3, idle ? sleep_ms(r, subscribes, closing, redis_now_ms()) : 0);
    wake_cancel(&r->wake);
    if (n <= 0)
        return false;
    if (fds[0].revents)
        wake_clear(&r->wake);
    redis_link_handle(&r->commands, fds[1].revents);
    redis_link_handle(&r->subscriptions, fds[2].revents);
    return fds[1].revents & POLLIN;
}

/* Closing ends when what was sent is answered or late. */
static bool is_over(redis *r)
{
    if (!is_closing(r))
        return false;
    pthread_mutex_lock(&r->lock);
    redis_commands *in = &r->incoming;
    bool came = in->first;
    pthread_mutex_unlock(&r->lock);
    return !came && !r->waiting.first && !r->under_way.first;
}

static void *run(void *user)
{
    redis *r = user;
    bool reading = false;
    while (!is_over(r)) {
        int64_t now_ms = redis_now_ms();
        bool closing = is_closing(r);
        if (!closing) {
            redis_link_open(&r->commands, now_ms);
            take_turn(r, now_ms);
        }
        redis_commands_send(r);
        if (closing && r->commands.state != LINK_READY)
            redis_commands_refuse(r, -ESHUTDOWN);
        redis_commands_expire(r, now_ms, reading);
        bool subscribes = redis_subscriptions_send(r);
        if (subscribes && !closing)
            redis_link_open(&r->subscriptions, now_ms);
        redis_link_expire(&r->commands, now_ms);
        redis_link_expire(&r->subscriptions, now_ms);
        redis_link_flush(&r->commands);
        redis_link_flush(&r->subscriptions);
        reading = rest(r, subscribes, closing);
    }
    redis_link_close(&r->commands, -ESHUTDOWN, "closed");
    redis_link_close(&r->subscriptions, -ESHUTDOWN, "closed");
    return NULL;
}

/* All signals stay with the program's own threads; SIGPIPE too, which hiredis' writes would raise. */
static int start(redis *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = -pthread_create(&r->thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->has_thread = err == 0;
    return err;
}

/* --- life --- */

static void set_name(redis *r)
{
    const redis_address *a = &r->options.address;
    if (a->host[0])
        snprintf(r->name, sizeof(r->name), "redis://%s:%d/%d", a->host, a->port, a->db);
    else
        snprintf(r->name, sizeof(r->name), "redis+unix:%s", a->path);
}

static redis *new_client(const redis_options *options)
{
    redis *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    pthread_condattr_t clock;
    r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&r->tried_changed, &clock);
    pthread_condattr_destroy(&clock);
    redis_commands_init(&r->incoming);
    redis_commands_init(&r->waiting);
    redis_commands_init(&r->under_way);
    r->commands = (redis_link){.options = &r->options, .changed = on_changed, .user = r};
    redis_subscriptions_init(r);
    set_name(r);
    return r;
}

/* Returns: how the first attempt ended. */
static int wait_for_first_attempt(redis *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->tried)
        pthread_cond_wait(&r->tried_changed, &r->lock);
    int err = r->tried_err;
    pthread_mutex_unlock(&r->lock);
    return err;
}

int redis_open(const redis_options *options, redis **ret, char *error, size_t size)
{
    redis *r = new_client(options);
    if (!r)
        return -ENOMEM;
    int err = wake_init(&r->wake);
    if (!err)
        err = start(r);
    if (err) {
        snprintf(error, size, "cannot start the client's thread: %s", strerror(-err));
        redis_close(r);
        return err;
    }
    err = wait_for_first_attempt(r);
    if (is_hopeless(err)) {
        snprintf(error, size, "%s", r->tried_why);
        redis_close(r);
        return err;
    }
    *ret = r;
    return 0;
}

void redis_close(redis *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_mutex_unlock(&r->lock);
    if (r->has_thread) {
        wake_signal(&r->wake);
        pthread_join(r->thread, NULL);
    }
    redis_subscriptions_fini(r);
    wake_fini(&r->wake);
    pthread_cond_destroy(&r->tried_changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void redis_wake(redis *r)
{
    pthread_mutex_lock(&r->lock);
    r->turn_wanted = true;
    pthread_mutex_unlock(&r->lock);
    wake_signal(&r->wake);
}
