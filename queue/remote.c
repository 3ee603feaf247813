/* A store's life, and what it tells its watchers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "queue/remote_internal.h"

#define X(name)                                                                                              \
    extern const char lua_redis_dict_##name[];                                                               \
    extern const size_t lua_redis_dict_##name##_size;
REMOTE_SCRIPTS(X)
X(common)
#undef X

enum { TIMEOUT_LEAST_MS = 10, TIMEOUT_MS = 2000, TIMEOUT_MOST_MS = 600000, DB_MOST = 1000000 };

/* --- addresses --- */

typedef struct place {
    redis_address address;
    int64_t timeout_ms;
    char prefix[REMOTE_PREFIX_BYTES];
} place;

static int refuse(char *error, size_t size, const char *why)
{
    snprintf(error, size, "%s", why);
    return -EINVAL;
}

static int read_number(str text, int64_t least, int64_t most, int64_t *ret)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > most)
            return -EINVAL;
        n = n * 10 + (text.p[i] - '0');
    }
    if (text.n == 0 || n < least || n > most)
        return -EINVAL;
    *ret = n;
    return 0;
}

static int read_text(str text, char *to, size_t room)
{
    ssize_t n = text.n < room ? percent_path_decode(text, to) : -1;
    if (n < 0)
        return -EINVAL;
    to[n] = '\0';
    return 0;
}

static bool prefix_is_good(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return *text && text[strspn(text, good)] == '\0';
}

static int read_parameter(place *p, str name, str value)
{
    redis_address *a = &p->address;
    int64_t db;
    if (str_eq(name, STR("timeout_ms")))
        return read_number(value, TIMEOUT_LEAST_MS, TIMEOUT_MOST_MS, &p->timeout_ms);
    if (str_eq(name, STR("prefix")))
        return read_text(value, p->prefix, sizeof(p->prefix)) || !prefix_is_good(p->prefix) ? -EINVAL : 0;
    if (a->host[0])
        return -EINVAL;
    if (str_eq(name, STR("user")))
        return read_text(value, a->user, sizeof(a->user));
    if (str_eq(name, STR("password")))
        return read_text(value, a->password, sizeof(a->password));
    if (!str_eq(name, STR("db")) || read_number(value, 0, DB_MOST, &db) < 0)
        return -EINVAL;
    a->db = (int)db;
    return 0;
}

static int read_parameters(place *p, const char *text, char *error, size_t size)
{
    while (*text) {
        size_t n = strcspn(text, "&");
        const char *equals = memchr(text, '=', n);
        str name = {text, equals ? (size_t)(equals - text) : n};
        str value = equals ? (str){equals + 1, n - name.n - 1} : (str){text, 0};
        if (read_parameter(p, name, value) < 0) {
            snprintf(
                error, size,
                "%.*s: no such parameter, or not with that value; there are timeout_ms and prefix, and with "
                "redis+unix: also db, user and password",
                (int)name.n, name.p);
            return -EINVAL;
        }
        text += n + (text[n] == '&');
    }
    return 0;
}

static int read_place(const char *url, place *ret, char *error, size_t size)
{
    bool socket = strncmp(url, "redis+unix:", 11) == 0;
    *ret = (place){.timeout_ms = TIMEOUT_MS, .prefix = "poolsrv"};
    if (!socket && strncmp(url, "redis://", 8) != 0)
        return refuse(error, size, "redis://HOST:PORT/DB or redis+unix:PATH is wanted");
    const char *rest = url + (socket ? 11 : 6);
    size_t n = strcspn(rest, "?");
    int err = redis_address_read((str){rest, n}, &ret->address, error, size);
    return err || !rest[n] ? err : read_parameters(ret, rest + n + 1, error, size);
}

int remote_check(const char *url, char *error, size_t size)
{
    place p;
    return read_place(url, &p, error, size);
}

/* --- life --- */

static int make_script(redis_script *script, const char *text, size_t n)
{
    char *whole = malloc(lua_redis_dict_common_size + n + 1);
    if (!whole)
        return -ENOMEM;
    memcpy(whole, lua_redis_dict_common, lua_redis_dict_common_size);
    memcpy(whole + lua_redis_dict_common_size, text, n + 1);
    redis_script_init(script, (str){whole, lua_redis_dict_common_size + n});
    /* cppcheck-suppress memleak ; the script keeps it */
    return 0;
}

static int make_scripts(remote *s)
{
    int err = 0;
#define X(name)                                                                                              \
    if (!err)                                                                                                \
        err = make_script(&s->scripts[REMOTE_SCRIPT_##name], lua_redis_dict_##name,                          \
                          lua_redis_dict_##name##_size);
    REMOTE_SCRIPTS(X)
#undef X
    return err;
}

static void on_message(void *user, const char *channel, str message);

int remote_open(const char *url, remote_tell *tell, void *user, remote **ret_s, char *error, size_t size)
{
    place p;
    int err = read_place(url, &p, error, size);
    if (err)
        return err;
    remote *s = calloc(1, sizeof(*s));
    snprintf(error, size, "out of memory");
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->watch_lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    memcpy(s->prefix, p.prefix, sizeof(s->prefix));
    redis_options o = {.address = p.address, .timeout_ms = p.timeout_ms, .tell = tell, .tell_user = user};
    err = make_scripts(s);
    if (!err)
        err = redis_open(&o, &s->client, error, size);
    if (err) {
        remote_close(s);
        return err;
    }
    redis_on_message(s->client, on_message, s);
    *ret_s = s;
    return 0;
}

void remote_close(remote *s)
{
    if (!s)
        return;
    redis_close(s->client);
    for (size_t i = 0; i < REMOTE_SCRIPT_COUNT; i++)
        free((char *)(uintptr_t)s->scripts[i].text.p);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->watch_lock);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void remote_settle(remote *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->under_way)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* --- watching --- */

typedef struct watch {
    struct watch *next;
    dict_watcher *watcher;
    char channel[];
} watch;

/* "EVENT VERSION KEY" */
static void tell(dict_watcher *w, str message)
{
    static const struct {
        str word;
        dict_event event;
    } events[] = {{{"set ", 4}, DICT_STORED}, {{"touch ", 6}, DICT_TOUCHED}, {{"delete ", 7}, DICT_DELETED}};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        str word = events[i].word;
        if (message.n < word.n || memcmp(message.p, word.p, word.n) != 0)
            continue;
        const char *version = message.p + word.n, *end = message.p + message.n;
        const char *space = memchr(version, ' ', (size_t)(end - version));
        if (!space)
            return;
        w->changed(w->user, events[i].event, (str){space + 1, (size_t)(end - space - 1)},
                   strtoull(version, NULL, 10));
        return;
    }
    w->changed(w->user, DICT_FLUSHED, STR(""), 0);
}

/* [client] message.p is NULL when the channel was just subscribed. */
static void on_message(void *user, const char *channel, str message)
{
    remote *s = user;
    pthread_mutex_lock(&s->watch_lock);
    for (watch *w = s->watches; w; w = w->next)
        if (strcmp(w->channel, channel) == 0)
            tell(w->watcher, message.p ? message : STR("flush"));
    pthread_mutex_unlock(&s->watch_lock);
}

int remote_watch(remote *s, const char *dict_name, dict_watcher *watcher)
{
    char channel[REMOTE_STEM_BYTES];
    size_t bytes = remote_channel(s, dict_name, channel) + 1;
    watch *w = malloc(sizeof(*w) + bytes);
    if (!w)
        return -ENOMEM;
    *w = (watch){.watcher = watcher};
    memcpy(w->channel, channel, bytes);
    pthread_mutex_lock(&s->watch_lock);
    w->next = s->watches;
    s->watches = w;
    pthread_mutex_unlock(&s->watch_lock);
    int err = redis_subscribe(s->client, channel);
    if (err)
        remote_unwatch(s, watcher);
    return err;
}

void remote_unwatch(remote *s, dict_watcher *watcher)
{
    pthread_mutex_lock(&s->watch_lock);
    watch **at = &s->watches;
    while (*at && (*at)->watcher != watcher)
        at = &(*at)->next;
    watch *w = *at;
    if (w)
        *at = w->next;
    pthread_mutex_unlock(&s->watch_lock);
    free(w);
}
