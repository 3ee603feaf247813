#include "runtime/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "queue/buf.h"
#include "queue/ring.h"
#include "queue/wake.h"

enum { WRITE_BYTES = 65536, SHORT_TEXT_BYTES = 512 };

struct logger {
    log_level level;              /* const */
    bool json;                    /* const */
    int fd;                       /* const */
    ring *records;                /* [any] pushes, [writer] pops */
    wake wake;                    /* [any] */
    atomic_bool stopping;         /* [any] release in log_free, acquire in the writer */
    atomic_uint_fast64_t dropped; /* [any] relaxed: a figure, it orders nothing */
    atomic_uint_fast64_t rounds; /* [writer writes, any reads] how often the ring was empty and all written */
    pthread_t writer;
    uint64_t reported; /* [writer] how many of the dropped ones the log has told */
    uint64_t lines;    /* [writer] in out */
    log_clock clock;   /* [writer] */
    buf out;           /* [writer] */
};

/* --- whoever logs --- */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void count_dropped(logger *l, uint64_t n)
{
    atomic_fetch_add_explicit(&l->dropped, n, memory_order_relaxed);
}

/* A record with room for its strings behind it, or NULL, which counts as dropped. */
static log_record *record_new(logger *l, size_t string_bytes)
{
    log_record *r = malloc(sizeof(*r) + string_bytes);
    if (!r) {
        count_dropped(l, 1);
        return NULL;
    }
    *r = (log_record){.time_ms = now_ms()};
    return r;
}

/* Copy a string to *at and step over it. */
static str keep(char **at, str s)
{
    char *copy = *at;
    if (s.n)
        memcpy(copy, s.p, s.n);
    *at += s.n;
    return (str){copy, s.n};
}

/* Owns: the record. */
static void submit(logger *l, log_record *r)
{
    if (ring_push_many(l->records, r) < 0) {
        free(r);
        count_dropped(l, 1);
    }
    wake_signal(&l->wake);
}

/* Shorten s to `most` bytes. Returns: how many bytes that cost. */
static size_t cut(str *s, size_t most)
{
    size_t n = s->n > most ? s->n - most : 0;
    s->n -= n;
    return n;
}

bool log_takes(const logger *l, log_level level)
{
    return l && level <= l->level;
}

static void text(logger *l, log_level level, str id, str message, size_t cut_bytes)
{
    log_record *r = record_new(l, id.n + message.n);
    if (!r)
        return;
    char *at = (char *)(r + 1);
    r->level = level;
    r->id = keep(&at, id);
    r->text = keep(&at, message);
    r->cut_bytes = cut_bytes;
    submit(l, r);
}

void log_text(logger *l, log_level level, str request_id, str message)
{
    if (!log_takes(l, level))
        return;
    if (message.n && message.p[message.n - 1] == '\n')
        message.n--;
    size_t cut_bytes = cut(&message, LOG_TEXT_BYTES);
    text(l, level, request_id, message, cut_bytes);
}

/* Format into `out` of `size` bytes: what fits is in *ret_message, what does not is counted. */
static size_t format_message(char *out, size_t size, const char *format, va_list args, str *ret_message)
{
    int n = vsnprintf(out, size, format, args);
    *ret_message = (str){out, n > 0 ? (size_t)n : 0};
    return cut(ret_message, size - 1);
}

void log_write(logger *l, log_level level, str request_id, const char *format, ...)
{
    char few[SHORT_TEXT_BYTES], *many = NULL;
    str message;
    va_list args, again;
    if (!log_takes(l, level))
        return;
    va_start(args, format);
    va_copy(again, args);
    size_t cut_bytes = format_message(few, sizeof(few), format, args, &message);
    if (cut_bytes && (many = malloc(LOG_TEXT_BYTES + 1)))
        cut_bytes = format_message(many, LOG_TEXT_BYTES + 1, format, again, &message);
    text(l, level, request_id, message, cut_bytes);
    free(many);
    va_end(again);
    va_end(args);
}

void log_access(logger *l, const HttpTask *t, uint64_t duration_ns)
{
    if (!l)
        return;
    str target = t->target;
    size_t cut_bytes = cut(&target, LOG_TARGET_BYTES);
    str ip = str_from(t->ip);
    str pattern = t->route ? str_from(t->route->pattern) : (str){0};
    log_record *r = record_new(l, t->id.n + ip.n + t->method.n + target.n + pattern.n);
    if (!r)
        return;
    char *at = (char *)(r + 1);
    r->is_access = true;
    r->cut_bytes = cut_bytes;
    r->id = keep(&at, t->id);
    r->request = (log_request){
        .ip = keep(&at, ip),
        .method = keep(&at, t->method),
        .target = keep(&at, target),
        .route = keep(&at, pattern),
        .version_minor = t->version_minor,
        .status = t->status,
        .body_bytes = t->method_id == METHOD_HEAD ? 0 : t->body.n - t->body_from,
        .duration_ns = duration_ns,
    };
    submit(l, r);
}

uint64_t log_dropped(const logger *l)
{
    return l ? atomic_load_explicit(&l->dropped, memory_order_relaxed) : 0;
}

/* --- the writer --- */

static bool is_stopping(const logger *l)
{
    return atomic_load_explicit(&l->stopping, memory_order_acquire);
}

/* Wait until a non-blocking descriptor takes more. Returns: false to give up. */
static bool wait_for_room(const logger *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    for (;;) {
        int n = poll(&p, 1, LOG_LAST_WAIT_MS);
        if (n > 0)
            return true;
        if ((n == 0 && is_stopping(l)) || (n < 0 && errno != EINTR))
            return false;
    }
}

static bool write_all(const logger *l, str s)
{
    while (s.n > 0) {
        ssize_t n = write(l->fd, s.p, s.n);
        if (n >= 0)
            s = (str){s.p + n, s.n - (size_t)n};
        else if (errno == EAGAIN ? !wait_for_room(l) : errno != EINTR)
            return false;
    }
    return true;
}

static void add_line(logger *l, const log_record *r)
{
    int err = l->json ? log_line_json(&l->out, &l->clock, r) : log_line_text(&l->out, &l->clock, r);
    if (err)
        count_dropped(l, 1);
    else
        l->lines++;
}

static void report_dropped(logger *l)
{
    uint64_t dropped = log_dropped(l);
    if (dropped == l->reported)
        return;
    char message[64];
    int n = snprintf(message, sizeof(message), "%llu messages were dropped",
                     (unsigned long long)(dropped - l->reported));
    l->reported = dropped;
    add_line(l, &(log_record){.time_ms = now_ms(), .level = LOG_LEVEL_WARN, .text = {message, (size_t)n}});
}

static void flush(logger *l)
{
    report_dropped(l);
    if (!write_all(l, buf_str(&l->out)))
        count_dropped(l, l->lines);
    l->lines = 0;
    l->out.n = 0;
}

/* Write what is on the ring, in writes as large as it gives. Returns: whether there was anything. */
static bool drain(logger *l)
{
    bool any = false;
    log_record *r;
    while ((r = ring_pop_many(l->records))) {
        any = true;
        add_line(l, r);
        free(r);
        if (l->out.n >= WRITE_BYTES)
            flush(l);
    }
    flush(l);
    atomic_fetch_add_explicit(&l->rounds, 1, memory_order_release); /* pairs with log_settle */
    return any;
}

/* Until somebody logs. */
static void rest(logger *l)
{
    struct pollfd p = {.fd = wake_fd(&l->wake), .events = POLLIN};
    wake_prepare(&l->wake);
    if (ring_depth(l->records) == 0 && !is_stopping(l))
        poll(&p, 1, -1);
    wake_cancel(&l->wake);
    wake_clear(&l->wake);
}

static void *run(void *arg)
{
    logger *l = arg;
    for (;;) {
        /* Asked before the ring is looked at: what was pushed before log_free is then seen below. */
        bool last = is_stopping(l);
        bool any = drain(l);
        if (last && !any)
            return NULL;
        if (any && !last)
            poll(NULL, 0, LOG_GATHER_MS); /* a busy server would else wake this thread for every line */
        else if (!any)
            rest(l);
    }
}

/* --- life --- */

static int start_writer(logger *l)
{
    /* Signals are the program's business; and a pipe without a reader is to be an error, not the end. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&l->writer, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        pthread_setname_np(l->writer, "poolsrv-log");
    return -err;
}

int log_new(log_level level, bool json, int fd, logger **ret_log)
{
    int err = -ENOMEM;
    logger *l = calloc(1, sizeof(*l));
    if (!l)
        return err;
    l->level = level;
    l->json = json;
    l->fd = fd;
    l->wake.fd = -1;
    atomic_init(&l->stopping, false);
    atomic_init(&l->dropped, 0);
    atomic_init(&l->rounds, 0);
    l->records = ring_new(LOG_RING_RECORDS);
    if (!l->records)
        goto fail;
    if ((err = wake_init(&l->wake)) < 0 || (err = start_writer(l)) < 0)
        goto fail;
    *ret_log = l;
    return 0;
fail:
    wake_fini(&l->wake);
    ring_free(l->records);
    free(l);
    return err;
}

void log_free(logger *l)
{
    if (!l)
        return;
    atomic_store_explicit(&l->stopping, true, memory_order_release);
    wake_signal(&l->wake);
    pthread_join(l->writer, NULL);
    wake_fini(&l->wake);
    ring_free(l->records);
    buf_fini(&l->out);
    free(l);
}

/* The first round that ends may have begun before, the second has not. */
void log_settle(logger *l)
{
    if (!l)
        return;
    uint64_t until = atomic_load_explicit(&l->rounds, memory_order_acquire) + 2;
    for (int ms = 0; ms < LOG_LAST_WAIT_MS; ms++) {
        if (atomic_load_explicit(&l->rounds, memory_order_acquire) >= until)
            return;
        wake_signal(&l->wake);
        poll(NULL, 0, 1);
    }
}
