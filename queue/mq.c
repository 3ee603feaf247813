#include "queue/mq.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "queue/percent.h"

enum { PARAMETERS_MAX = 16 };

struct mq {
    const mq_engine *engine;
    void *self;
    mq_config config;
    char *address;    /* without password and parameters */
    char *parameters; /* "a=1&b=2", or empty */
    unsigned asked;   /* which of them the engine knows: a bit each */
};

static const mq_engine *const engines[] = {&mq_memory, &mq_sqlite, &mq_redis};

/* --- messages --- */

static const char *put(char **at, str text)
{
    char *begin = *at;
    memcpy(begin, text.p, text.n);
    begin[text.n] = '\0';
    *at += text.n + 1;
    return begin;
}

/* No more than MQ_NOTE_MAX bytes, and no half of a character. */
static str cut_note(const char *note)
{
    str s = str_from(note);
    if (s.n <= MQ_NOTE_MAX)
        return s;
    s.n = MQ_NOTE_MAX;
    while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
        s.n--;
    return s;
}

mq_message *mq_message_new_with(size_t own_bytes, str body, const char *id, const char *from,
                                const char *note, const char *token)
{
    str texts[] = {body.p ? body : STR(""), str_from(id), str_from(from), cut_note(note), str_from(token)};
    size_t head_bytes = sizeof(mq_message) + own_bytes, bytes = head_bytes;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bytes += texts[i].n + 1;
    mq_message *m = malloc(bytes);
    if (!m)
        return NULL;
    memset(m, 0, head_bytes);
    char *at = (char *)m + head_bytes;
    m->body = (str){put(&at, texts[0]), body.n};
    m->id = put(&at, texts[1]);
    m->from = put(&at, texts[2]);
    m->note = put(&at, texts[3]);
    m->token = put(&at, texts[4]);
    m->progress = -1;
    atomic_init(&m->refs, 1);
    return m;
}

mq_message *mq_message_new(str body, const char *id, const char *from, const char *note, const char *token)
{
    return mq_message_new_with(0, body, id, from, note, token);
}

void mq_message_ref(mq_message *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

/* Order: acquire; pairs with the release in mq_message_unref, so what another holder did with it is over. */
bool mq_message_is_shared(const mq_message *m)
{
    return atomic_load_explicit(&m->refs, memory_order_acquire) != 1;
}

void mq_message_unref(mq_message *m)
{
    if (!mq_message_is_shared(m) || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}

void mq_message_free(mq_message *list)
{
    while (list) {
        mq_message *next = list->next;
        mq_message_unref(list);
        list = next;
    }
}

/* --- names --- */

bool mq_name_is_good(str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-')
            return false;
    }
    return name.n > 0 && name.n < MQ_NAME_BYTES;
}

bool mq_id_is_good(str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~')
            return false;
    return id.n > 0 && id.n < MQ_ID_BYTES;
}

int64_t mq_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* As a ULID: 48 bits of time and 80 that count up from a random number, in Crockford's base 32. The process's
 * part is drawn once. */
void mq_make_id_at(char text[static MQ_ID_BYTES], int64_t now_ms)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    static atomic_uint_fast64_t count;
    static atomic_uint_fast32_t process;
    uint64_t low = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    uint32_t high = (uint32_t)atomic_load_explicit(&process, memory_order_relaxed);
    if (!high) {
        uint32_t drawn = 0;
        while (!drawn)
            if (getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
                drawn = (uint32_t)time(NULL);
        uint_fast32_t none = 0;
        high = atomic_compare_exchange_strong(&process, &none, drawn) ? drawn : (uint32_t)none;
    }
    /* 10 digits of time, 7 of the process, 9 of the count: 45 bits of it. */
    uint64_t ms = (uint64_t)now_ms;
    for (int i = 9; i >= 0; i--, ms >>= 5)
        text[i] = digits[ms & 31];
    for (int i = 16; i >= 10; i--, high >>= 5)
        text[i] = digits[high & 31];
    for (int i = 25; i >= 17; i--, low >>= 5)
        text[i] = digits[low & 31];
    text[26] = '\0';
}

void mq_make_id(char text[static MQ_ID_BYTES])
{
    mq_make_id_at(text, mq_now_ms());
}

/* --- parameters --- */

/* Call `each` for the parameters in turn, with their number, until it returns true. */
typedef bool each_parameter(void *user, unsigned i, str name, str value);

static bool walk(const char *parameters, each_parameter *each, void *user)
{
    unsigned i = 0;
    for (const char *p = parameters; *p; i++) {
        size_t n = strcspn(p, "&");
        const char *equals = memchr(p, '=', n);
        str name = {p, equals ? (size_t)(equals - p) : n};
        str value = equals ? (str){equals + 1, n - name.n - 1} : (str){p + n, 0};
        if (each(user, i, name, value))
            return true;
        p += n + (p[n] == '&');
    }
    return false;
}

typedef struct wanted {
    str name, value;
    unsigned i, asked;
} wanted;

static bool is_wanted(void *user, unsigned i, str name, str value)
{
    wanted *w = user;
    w->i = i;
    w->value = value;
    return str_eq(w->name, name);
}

/* Its value, and note that the engine knows it. Returns: whether it was given. */
static bool ask(const mq *q, const char *name, str *ret_value)
{
    wanted w = {.name = str_from(name)};
    if (!walk(q->parameters, is_wanted, &w))
        return false;
    ((mq *)(uintptr_t)q)->asked |= 1u << w.i; /* mq_open's own, while it opens */
    *ret_value = w.value;
    return true;
}

int mq_parameter(const mq *q, const char *name, int64_t least, int64_t most, int64_t preset, int64_t *ret,
                 char *error, size_t size)
{
    str value;
    if (!ask(q, name, &value)) {
        *ret = preset;
        return 0;
    }
    char *end;
    char text[32] = "";
    if (value.n < sizeof(text))
        memcpy(text, value.p, value.n);
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (!text[0] || *end || errno || number < least || number > most) {
        snprintf(error, size, "%s=%.*s: a number from %lld to %lld is wanted", name, (int)value.n, value.p,
                 (long long)least, (long long)most);
        return -EINVAL;
    }
    *ret = number;
    return 0;
}

int mq_text_parameter(const mq *q, const char *name, const char *preset, char *ret, size_t room, char *error,
                      size_t size)
{
    str value;
    if (!ask(q, name, &value)) {
        snprintf(ret, room, "%s", preset);
        return 0;
    }
    ssize_t n = value.n < room ? percent_path_decode(value, ret) : -1;
    if (n < 0) {
        snprintf(error, size, "%s: a percent-encoded text of less than %zu bytes is wanted", name, room);
        return -EINVAL;
    }
    ret[n] = '\0';
    return 0;
}

static bool is_unknown(void *user, unsigned i, str name, str value)
{
    wanted *w = user;
    (void)value;
    w->name = name;
    return i >= PARAMETERS_MAX || !(w->asked & 1u << i);
}

/* --- life --- */

static const mq_engine *engine_of(str scheme)
{
    if (str_eq(scheme, STR("redis+unix")))
        return &mq_redis;
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        if (str_eq(scheme, str_from(engines[i]->scheme)))
            return engines[i];
    return NULL;
}

/* The address as it may be shown: "redis://user:secret@host" without what stands before the '@'. */
static char *shown(str url)
{
    const char *slashes = memmem(url.p, url.n, "//", 2);
    const char *at = memrchr(url.p, '@', url.n);
    char *text = NULL;
    if (!slashes || !at || at < slashes)
        return strndup(url.p, url.n);
    int n =
        asprintf(&text, "%.*s%.*s", (int)(slashes + 2 - url.p), url.p, (int)(url.p + url.n - at - 1), at + 1);
    return n < 0 ? NULL : text;
}

static int open_engine(mq *q, const char *rest, char *error, size_t size)
{
    char why[MQ_ERROR_BYTES] = "";
    int err = q->engine->open(q, rest, &q->self, why, sizeof(why));
    wanted w = {.asked = q->asked};
    if (err) {
        q->self = NULL;
        snprintf(error, size, "%s: %s", q->address, why[0] ? why : strerror(-err));
    } else if (walk(q->parameters, is_unknown, &w)) {
        snprintf(error, size, "%s: it has no parameter \"%.*s\"", q->address, (int)w.name.n, w.name.p);
        err = -EINVAL;
    }
    return err;
}

int mq_open(const char *url, const mq_config *config, mq **ret_mq, char *error, size_t size)
{
    size_t scheme = strcspn(url, ":");
    const mq_engine *engine = url[scheme] ? engine_of((str){url, scheme}) : NULL;
    if (!engine) {
        snprintf(error, size,
                 "\"%.*s\" is no address of queues: memory:, sqlite:PATH, redis://HOST:PORT/DB and "
                 "redis+unix:PATH are",
                 (int)scheme, url);
        return -EINVAL;
    }
    size_t end = strcspn(url, "?");
    mq *q = calloc(1, sizeof(*q));
    char *rest = q ? strndup(url + scheme + 1, end - scheme - 1) : NULL;
    int err = rest ? 0 : -ENOMEM;
    if (!err) {
        q->engine = engine;
        q->config = *config;
        q->address = shown((str){url, end});
        q->parameters = strdup(url[end] ? url + end + 1 : "");
        err = q->address && q->parameters ? open_engine(q, rest, error, size) : -ENOMEM;
    }
    if (err == -ENOMEM)
        snprintf(error, size, "out of memory");
    free(rest);
    if (err)
        mq_close(q);
    else
        *ret_mq = q;
    return err;
}

int mq_open_engine(const mq_engine *engine, const char *name, const mq_config *config, mq **ret_mq,
                   char *error, size_t size)
{
    mq *q = calloc(1, sizeof(*q));
    int err = -ENOMEM;
    if (q) {
        q->engine = engine;
        q->config = *config;
        q->address = strdup(name);
        q->parameters = strdup("");
        err = q->address && q->parameters ? open_engine(q, "", error, size) : -ENOMEM;
    }
    if (err)
        mq_close(q);
    else
        *ret_mq = q;
    return err;
}

void mq_close(mq *q)
{
    if (!q)
        return;
    if (q->self)
        q->engine->close(q->self);
    free(q->address);
    free(q->parameters);
    free(q);
}

const char *mq_address(const mq *q)
{
    return q->address;
}

bool mq_survives(const mq *q)
{
    return q->engine->survives;
}

const mq_config *mq_config_of(const mq *q)
{
    return &q->config;
}

void mq_watch(mq *q, mq_watcher *w)
{
    q->engine->watch(q->self, w);
}

void mq_unwatch(mq *q, mq_watcher *w)
{
    q->engine->unwatch(q->self, w);
}

/* --- operations --- */

void mq_heard(const mq *q, const char *channel, str body)
{
    if (q->config.heard)
        q->config.heard(q->config.user, channel, body);
}

/* Who listens in this process hears all channels: it is not worth a list. */
static void publish_here(const mq *q, mq_op *op)
{
    mq_heard(q, op->queue, op->body);
    mq_finish(op, 0, NULL);
}

int mq_listen(mq *q, const char *channel)
{
    return q->engine->listen ? q->engine->listen(q->self, channel) : 0;
}

void mq_submit(mq *q, mq_op *op)
{
    op->err = 0;
    op->error[0] = '\0';
    if (op->verb == MQ_PUBLISH && !q->engine->listen)
        publish_here(q, op);
    else
        q->engine->submit(q->self, op);
}

void mq_finish(mq_op *op, int err, const char *format, ...)
{
    op->err = err;
    if (err && format) {
        va_list args;
        va_start(args, format);
        vsnprintf(op->error, sizeof(op->error), format, args);
        va_end(args);
    } else if (err) {
        snprintf(op->error, sizeof(op->error), "%s", strerror(-err));
    }
    op->done(op);
}

typedef struct call {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
} call;

static void on_done(mq_op *op)
{
    call *c = op->user;
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

int mq_call(mq *q, mq_op *op)
{
    call c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    op->done = on_done;
    /* cppcheck-suppress autoVariables ; it is waited for */
    op->user = &c;
    mq_submit(q, op);
    pthread_mutex_lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.changed, &c.lock);
    pthread_mutex_unlock(&c.lock);
    return op->err;
}
