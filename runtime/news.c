#include "runtime/news.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What is on its way to one thread. */
typedef struct line {
    struct line *next;
    news *of;
    inbox *to;
    unsigned pending; /* [lock] notices */
    bool missed;      /* [lock] there were more of them */
} line;

struct news {
    notices *notices;
    pthread_mutex_t lock;
    line *lines; /* [lock] one a thread; none goes before the end */
    str instead;
    char texts[]; /* name NUL instead */
};

news *news_new(notices *n, const char *name, str instead)
{
    size_t name_bytes = strlen(name) + 1;
    news *w = calloc(1, sizeof(*w) + name_bytes + instead.n);
    if (!w)
        return NULL;
    w->notices = n;
    memcpy(w->texts, name, name_bytes);
    memcpy(w->texts + name_bytes, instead.p, instead.n);
    w->instead = (str){w->texts + name_bytes, instead.n};
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void news_free(news *w)
{
    if (!w)
        return;
    while (w->lines) {
        line *next = w->lines->next;
        free(w->lines);
        w->lines = next;
    }
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* [lock] Returns: NULL when memory is short. */
static line *line_to(news *w, inbox *to)
{
    line *l = w->lines;
    while (l && l->to != to)
        l = l->next;
    if (!l && (l = calloc(1, sizeof(*l)))) {
        *l = (line){.next = w->lines, .of = w, .to = to, .missed = true};
        w->lines = l;
    }
    return l;
}

/* It has run all that it was to be told, and something was left out: pending is 0, so that is told now. */
static void on_done(void *user, bool ran)
{
    line *l = user;
    pthread_mutex_lock(&l->of->lock);
    bool again = --l->pending == 0 && l->missed && ran;
    pthread_mutex_unlock(&l->of->lock);
    if (again)
        news_tell_missed(l->of, l->to);
}

typedef struct telling {
    news *news;
    str arguments;   /* .p is NULL: something was missed */
    const inbox *to; /* NULL: all */
} telling;

/* [lock] What to tell now, if anything: .p is NULL if not. */
static str choose(line *l, str arguments)
{
    l->missed |= !arguments.p || l->pending >= NEWS_MOST;
    if (l->missed && l->pending > 0)
        return (str){0};
    str chosen = l->missed ? l->of->instead : arguments;
    l->missed = false;
    l->pending++;
    return chosen;
}

/* The pool's lock is held: so what one thread is told keeps its order. */
static void tell_one(void *user, inbox *to)
{
    const telling *t = user;
    news *w = t->news;
    if (t->to && t->to != to)
        return;
    pthread_mutex_lock(&w->lock);
    line *l = line_to(w, to);
    str chosen = l ? choose(l, t->arguments) : (str){0};
    pthread_mutex_unlock(&w->lock);
    if (!chosen.p || notice_one(w->notices, w->texts, chosen, to, on_done, l) == 0)
        return;
    pthread_mutex_lock(&w->lock);
    l->pending--;
    l->missed = true;
    pthread_mutex_unlock(&w->lock);
}

void news_tell(news *w, str arguments)
{
    pool_each_inbox(w->notices->pool, tell_one, &(telling){w, arguments, NULL});
}

void news_tell_missed(news *w, const inbox *to)
{
    pool_each_inbox(w->notices->pool, tell_one, &(telling){w, (str){0}, to});
}
