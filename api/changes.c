#include "api/changes.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/escape.h"

#define DICT  "dict:"
#define STORE "store:"

enum { NOTICE_BYTES = sizeof(STORE) + DICTS_NAME_BYTES_MAX };

static const char flushed[] = "[null,\"flush\",0]";

struct told_dict {
    told_dict *next;
    changes *of;
    dict *dict; /* or */
    remote *store;
    dict_watcher watcher;
    news *news;
    char notice_name[NOTICE_BYTES];
};

/* Both are sequentially consistent: whoever tells sees that it must not, or changes_stop waits for it. */
static bool begin_telling(changes *c)
{
    atomic_fetch_add(&c->tellers, 1);
    return atomic_load(&c->tells);
}

static void end_telling(changes *c)
{
    atomic_fetch_sub(&c->tellers, 1);
}

/* --- one change --- */

static const char *word_for(dict_event event)
{
    static const char *const words[] = {
        [DICT_STORED] = "set",     [DICT_TOUCHED] = "touch", [DICT_DELETED] = "delete",
        [DICT_EXPIRED] = "expire", [DICT_EVICTED] = "evict", [DICT_FLUSHED] = "flush"};
    return words[event];
}

static int write_change(buf *out, dict_event event, str key, uint64_t version)
{
    int err = buf_add_str(out, STR("[\""));
    if (err == 0)
        err = escape_json(out, key);
    return err ? err : buf_addf(out, "\",\"%s\",%llu]", word_for(event), (unsigned long long)version);
}

static void on_changed(void *user, dict_event event, str key, uint64_t version)
{
    const told_dict *t = user;
    buf text = {0};
    if (begin_telling(t->of)) {
        if (event != DICT_FLUSHED && write_change(&text, event, key, version) == 0)
            news_tell(t->news, buf_str(&text));
        else
            news_tell_missed(t->news, NULL);
    }
    end_telling(t->of);
    buf_fini(&text);
}

/* --- life --- */

void changes_init(changes *c, dicts *all, remotes *elsewhere, notices *to)
{
    c->stores = elsewhere;
    c->dicts = all;
    c->notices = to;
    atomic_init(&c->first, NULL);
    atomic_init(&c->tells, false);
    atomic_init(&c->tellers, 0);
}

static told_dict *first_of(const changes *c)
{
    return atomic_load_explicit(&c->first, memory_order_acquire);
}

typedef struct search {
    const char *name;
    dict *found;
} search;

static int is_it(void *user, const char *name, dict *d)
{
    search *s = user;
    if (strcmp(name, s->name) != 0)
        return 0;
    s->found = d;
    return 1;
}

static bool is_told(const changes *c, const char *notice_name)
{
    for (const told_dict *t = first_of(c); t; t = t->next)
        if (strcmp(t->notice_name, notice_name) == 0)
            return true;
    return false;
}

static told_dict *new_told(changes *c, const char *notice_name)
{
    told_dict *t = calloc(1, sizeof(*t));
    news *n = t ? news_new(c->notices, notice_name, (str){flushed, sizeof(flushed) - 1}) : NULL;
    if (!n) {
        free(t);
        return NULL;
    }
    t->of = c;
    t->news = n;
    t->watcher = (dict_watcher){.changed = on_changed, .user = t};
    snprintf(t->notice_name, sizeof(t->notice_name), "%s", notice_name);
    return t;
}

/* Returns: -ENOENT when there is none of that name. */
static int watch_it(told_dict *t, const char *name)
{
    changes *c = t->of;
    search s = {name, NULL};
    if (strncmp(t->notice_name, STORE, sizeof(STORE) - 1) == 0) {
        t->store = remotes_find(c->stores, name);
        return t->store ? remote_watch(t->store, name, &t->watcher) : -ENOENT;
    }
    dicts_each(c->dicts, is_it, &s);
    if (!s.found)
        return -ENOENT;
    t->dict = s.found;
    dict_watch(t->dict, &t->watcher);
    return 0;
}

int changes_define(changes *c, const char *notice_name)
{
    bool elsewhere = strncmp(notice_name, STORE, sizeof(STORE) - 1) == 0;
    if (!elsewhere && strncmp(notice_name, DICT, sizeof(DICT) - 1) != 0)
        return -ENOENT;
    if (is_told(c, notice_name))
        return 0;
    told_dict *t = new_told(c, notice_name);
    int err = t ? watch_it(t, strchr(notice_name, ':') + 1) : -ENOMEM;
    if (err) {
        if (t)
            news_free(t->news);
        free(t);
        return err == -ENOENT ? -EINVAL : err;
    }
    t->next = first_of(c);
    atomic_store_explicit(&c->first, t, memory_order_release);
    return 0;
}

/* To one thread, or all. */
static void tell_missed(changes *c, const inbox *to)
{
    if (begin_telling(c))
        for (const told_dict *t = first_of(c); t; t = t->next)
            news_tell_missed(t->news, to);
    end_telling(c);
}

void changes_start(changes *c)
{
    atomic_store(&c->tells, true);
    tell_missed(c, NULL);
}

void changes_seated(changes *c, const inbox *to)
{
    tell_missed(c, to);
}

void changes_stop(changes *c)
{
    atomic_store(&c->tells, false);
    while (atomic_load(&c->tellers))
        sched_yield();
}

void changes_fini(changes *c)
{
    told_dict *next;
    for (told_dict *t = first_of(c); t; t = next) {
        next = t->next;
        if (t->dict)
            dict_unwatch(t->dict, &t->watcher);
        else
            remote_unwatch(t->store, &t->watcher);
        news_free(t->news);
        free(t);
    }
    atomic_store_explicit(&c->first, NULL, memory_order_relaxed);
}
