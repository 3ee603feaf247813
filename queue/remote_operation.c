/* A store's operations: one command of Redis each, but for those that go over all entries in steps. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "queue/remote_internal.h"

#define NS_PER_MS UINT64_C(1000000)

enum { WORDS_MAX = 16, NUMBER_BYTES = 32, STEP = 1000 };

static void finish(remote_op *op, int err, const char *error)
{
    remote *s = op->store;
    op->err = err;
    snprintf(op->error, sizeof(op->error), "%s", error);
    op->done(op); /* it may be gone from here on */
    pthread_mutex_lock(&s->lock);
    if (--s->under_way == 0)
        pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

/* --- a command --- */

typedef struct words {
    int n;
    const char *p[WORDS_MAX];
    size_t bytes[WORDS_MAX];
    char numbers[6][NUMBER_BYTES];
    unsigned numbers_n;
} words;

static void add(words *w, str word)
{
    w->p[w->n] = word.p ? word.p : "";
    w->bytes[w->n++] = word.n;
}

static void add_number(words *w, uint64_t number)
{
    char *text = w->numbers[w->numbers_n++];
    snprintf(text, NUMBER_BYTES, "%" PRIu64, number);
    add(w, str_from(text));
}

/* At least a millisecond, which is as fine as Redis is. */
static void add_ttl(words *w, uint64_t ttl_ns)
{
    add_number(w, ttl_ns / NS_PER_MS + (ttl_ns % NS_PER_MS != 0));
}

static void add_value(words *w, const dict_value *v)
{
    static const char types[] = {
        [DICT_NULL] = '0',  [DICT_FALSE] = '-',  [DICT_TRUE] = '+', [DICT_INTEGER] = 'i',
        [DICT_FLOAT] = 'f', [DICT_STRING] = 's', [DICT_OTHER] = 'j'};
    char *text = w->numbers[w->numbers_n];
    add(w, (str){&types[v->type], 1});
    if (v->type == DICT_INTEGER)
        snprintf(text, NUMBER_BYTES, "%" PRId64, v->integer);
    else if (v->type == DICT_FLOAT)
        snprintf(text, NUMBER_BYTES, "%.17g", v->number);
    bool is_number = v->type == DICT_INTEGER || v->type == DICT_FLOAT;
    bool has_bytes = v->type == DICT_STRING || v->type == DICT_OTHER;
    w->numbers_n += is_number;
    add(w, is_number ? str_from(text) : has_bytes ? v->bytes : STR(""));
}

/* The text is NUL-terminated, as hiredis leaves it. */
static int read_value(str type, str text, dict_value *ret, buf *bytes)
{
    static const char types[] = "0-+ifsj";
    const char *at = type.n == 1 && *type.p ? strchr(types, *type.p) : NULL;
    if (!at || !text.p)
        return -EPROTO;
    *ret = (dict_value){.type = (dict_type)(at - types)};
    bytes->n = 0;
    if (ret->type == DICT_INTEGER)
        ret->integer = strtoll(text.p, NULL, 10);
    else if (ret->type == DICT_FLOAT)
        ret->number = strtod(text.p, NULL);
    else if (buf_add(bytes, text.p, text.n) < 0)
        return -ENOMEM;
    ret->bytes = buf_str(bytes);
    return 0;
}

/* Put the entry's key into op->bytes, which is free for it until the reply comes. */
static int make_key(remote_op *op)
{
    op->bytes.n = 0;
    int err = buf_add(&op->bytes, op->stem, op->stem_n);
    if (err == 0)
        err = buf_add(&op->bytes, "v:", 2);
    return err ? err : buf_add(&op->bytes, op->key.p, op->key.n);
}

/* --- changes --- */

static const char strange[] =
    "the server's reply is none of a dictionary's: something else writes to its keys";

static void on_changed(void *user, int err, const char *error, const redis_reply *reply)
{
    static const int errors[] = {0, -ENOENT, -EEXIST, -ESTALE, -EDOM, -ERANGE};
    remote_op *op = user;
    int64_t why = redis_integer(reply);
    bool done = redis_text(reply).p || redis_count(reply) == 3;
    if (!err && op->verb == REMOTE_ADD && redis_count(reply) == 3) {
        err = read_value(redis_text(redis_item(reply, 0)), redis_text(redis_item(reply, 1)), &op->value,
                         &op->bytes);
        op->version = (uint64_t)redis_integer(redis_item(reply, 2));
    } else if (!err && done) {
        op->version = (uint64_t)why;
    } else if (!err) {
        err = why > 0 && why < (int64_t)(sizeof(errors) / sizeof(errors[0])) ? errors[why] : -EPROTO;
    }
    finish(op, err, err == -EPROTO && !*error ? strange : error);
}

static void add_condition(words *w, const dict_change *how)
{
    static const char words_of[] = {
        [DICT_ALWAYS] = 'a', [DICT_IF_ABSENT] = 'x', [DICT_IF_PRESENT] = 'p', [DICT_IF_VERSION] = 'v'};
    add(w, (str){&words_of[how->when], 1});
    add_number(w, how->version);
}

static remote_script add_arguments(words *w, const remote_op *op)
{
    switch (op->verb) {
    case REMOTE_ADD:
        add_value(w, &op->value);
        add_value(w, &op->init);
        add_ttl(w, op->how.ttl_ns);
        return REMOTE_SCRIPT_add;
    case REMOTE_DELETE:
        add_condition(w, &op->how);
        return REMOTE_SCRIPT_delete;
    case REMOTE_TOUCH:
        add_condition(w, &op->how);
        add_ttl(w, op->how.ttl_ns);
        return REMOTE_SCRIPT_touch;
    default:
        add_condition(w, &op->how);
        add_ttl(w, op->how.ttl_ns);
        add(w, op->how.keeps_end ? STR("1") : STR("0"));
        add_value(w, &op->value);
        return REMOTE_SCRIPT_put;
    }
}

static void change(remote *s, remote_op *op)
{
    words w = {0};
    char counter[REMOTE_STEM_BYTES + 8], channel[REMOTE_STEM_BYTES];
    int n = snprintf(counter, sizeof(counter), "%sversion", op->stem);
    add(&w, STR("")); /* the script's digest */
    add(&w, STR("2"));
    add(&w, buf_str(&op->bytes));
    add(&w, (str){counter, (size_t)n});
    add(&w, op->lock ? STR("") : (str){channel, remote_channel(s, op->dict, channel)});
    add(&w, op->key);
    remote_script script = add_arguments(&w, op);
    redis_submit_script(s->client, &s->scripts[script], (redis_arguments){w.n, w.p, w.bytes}, on_changed, op);
}

/* --- reading --- */

static void on_got(void *user, int err, const char *error, const redis_reply *reply)
{
    remote_op *op = user;
    str type = redis_text(redis_item(reply, 0));
    op->version = 0;
    if (!err && !type.p)
        err = -ENOENT;
    if (!err)
        err = read_value(type, redis_text(redis_item(reply, 1)), &op->value, &op->bytes);
    if (!err)
        op->version = (uint64_t)redis_integer(redis_item(reply, 2));
    finish(op, err, err == -EPROTO && !*error ? strange : error);
}

static void get(remote *s, remote_op *op)
{
    words w = {0};
    add(&w, STR("HMGET"));
    add(&w, buf_str(&op->bytes));
    add(&w, STR("t"));
    add(&w, STR("v"));
    add(&w, STR("n"));
    redis_submit(s->client, (redis_arguments){w.n, w.p, w.bytes}, on_got, op);
}

static void on_ttl(void *user, int err, const char *error, const redis_reply *reply)
{
    remote_op *op = user;
    int64_t ms = redis_integer(reply);
    op->ttl_ns = ms == -2 ? 0 : ms == -1 ? UINT64_MAX : ms > 0 ? (uint64_t)ms * NS_PER_MS : 1;
    finish(op, err, error);
}

static void ttl(remote *s, remote_op *op)
{
    words w = {0};
    add(&w, STR("PTTL"));
    add(&w, buf_str(&op->bytes));
    redis_submit(s->client, (redis_arguments){w.n, w.p, w.bytes}, on_ttl, op);
}

/* --- all entries, in steps --- */

static void step(remote *s, remote_op *op, str cursor);

static void on_flush_told(void *user, int err, const char *error, const redis_reply *reply)
{
    (void)reply;
    finish(user, err, error);
}

static void tell_flush(remote_op *op)
{
    words w = {0};
    char channel[REMOTE_STEM_BYTES];
    add(&w, STR("PUBLISH"));
    add(&w, (str){channel, remote_channel(op->store, op->dict, channel)});
    add(&w, STR("flush"));
    redis_submit(op->store->client, (redis_arguments){w.n, w.p, w.bytes}, on_flush_told, op);
}

/* The keys of a step, whose stems are left away. */
static int add_keys(remote_op *op, const redis_reply *keys)
{
    for (size_t i = 0; i < redis_count(keys) && op->count < op->most; i++) {
        str key = redis_text(redis_item(keys, i));
        size_t stem_n = op->stem_n + 2, n = key.n - stem_n;
        if (!key.p || key.n < stem_n)
            return -EPROTO;
        if (buf_add(&op->bytes, &n, sizeof(n)) < 0 || buf_add(&op->bytes, key.p + stem_n, n) < 0)
            return -ENOMEM;
        op->count++;
    }
    return 0;
}

static void go_on(remote_op *op, str cursor)
{
    bool over = str_eq(cursor, STR("0")) || (op->verb == REMOTE_KEYS && op->count >= op->most);
    if (!over)
        step(op->store, op, cursor);
    else if (op->verb == REMOTE_FLUSH)
        tell_flush(op);
    else
        finish(op, 0, "");
}

/* The cursor is kept in op->bytes while a step's keys are removed. */
static void on_removed(void *user, int err, const char *error, const redis_reply *reply)
{
    remote_op *op = user;
    (void)reply;
    if (err)
        finish(op, err, error);
    else
        go_on(op, buf_str(&op->bytes));
}

static void remove_keys(remote_op *op, str cursor, const redis_reply *keys)
{
    size_t n = redis_count(keys);
    const char **p = malloc((n + 1) * (sizeof(*p) + sizeof(size_t)));
    size_t *bytes = p ? (size_t *)(uintptr_t)(p + n + 1) : NULL;
    op->bytes.n = 0;
    if (!p || buf_add(&op->bytes, cursor.p, cursor.n) < 0) {
        free((void *)p);
        finish(op, -ENOMEM, "");
        return;
    }
    p[0] = "UNLINK";
    bytes[0] = 6;
    for (size_t i = 0; i < n; i++) {
        str key = redis_text(redis_item(keys, i));
        p[i + 1] = key.p;
        bytes[i + 1] = key.n;
    }
    redis_submit(op->store->client, (redis_arguments){(int)n + 1, p, bytes}, on_removed, op);
    free((void *)p);
}

static void on_scanned(void *user, int err, const char *error, const redis_reply *reply)
{
    remote_op *op = user;
    str cursor = redis_text(redis_item(reply, 0));
    const redis_reply *keys = redis_item(reply, 1);
    if (!err && op->verb == REMOTE_COUNT)
        op->count += redis_count(keys);
    else if (!err && op->verb == REMOTE_KEYS)
        err = add_keys(op, keys);
    if (err || !cursor.p)
        finish(op, err ? err : -EPROTO, *error ? error : strange);
    else if (op->verb == REMOTE_FLUSH && redis_count(keys) > 0)
        remove_keys(op, cursor, keys);
    else
        go_on(op, cursor);
}

static void step(remote *s, remote_op *op, str cursor)
{
    words w = {0};
    char pattern[REMOTE_STEM_BYTES + 8];
    int n = snprintf(pattern, sizeof(pattern), "%sv:*", op->stem);
    add(&w, STR("SCAN"));
    add(&w, cursor);
    add(&w, STR("MATCH"));
    add(&w, (str){pattern, (size_t)n});
    add(&w, STR("COUNT"));
    add_number(&w, STEP);
    redis_submit(s->client, (redis_arguments){w.n, w.p, w.bytes}, on_scanned, op);
}

/* --- all of them --- */

void remote_submit(remote *s, remote_op *op)
{
    op->store = s;
    op->count = 0;
    op->bytes.n = 0;
    op->stem_n =
        (size_t)(op->lock ? snprintf(op->stem, sizeof(op->stem), "%s:lock:", s->prefix)
                          : snprintf(op->stem, sizeof(op->stem), "%s:dict:{%s}:", s->prefix, op->dict));
    pthread_mutex_lock(&s->lock);
    s->under_way++;
    pthread_mutex_unlock(&s->lock);
    bool all = op->verb == REMOTE_KEYS || op->verb == REMOTE_COUNT || op->verb == REMOTE_FLUSH;
    if (all)
        step(s, op, STR("0"));
    else if (make_key(op) < 0)
        finish(op, -ENOMEM, "");
    else if (op->verb == REMOTE_GET)
        get(s, op);
    else if (op->verb == REMOTE_TTL)
        ttl(s, op);
    else
        change(s, op);
}

typedef struct call {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
} call;

static void on_over(remote_op *op)
{
    call *c = op->user;
    pthread_mutex_lock(&c->lock);
    c->is_over = true;
    pthread_cond_signal(&c->over);
    pthread_mutex_unlock(&c->lock);
}

void remote_call(remote *s, remote_op *op)
{
    call c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    op->done = on_over;
    /* cppcheck-suppress autoVariables ; it is waited for */
    op->user = &c;
    remote_submit(s, op);
    pthread_mutex_lock(&c.lock);
    while (!c.is_over)
        pthread_cond_wait(&c.over, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.over);
    pthread_mutex_destroy(&c.lock);
}
