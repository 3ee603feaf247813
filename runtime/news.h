/* news: notices of one name, however many, that do not fill up a thread that is busy.
 *
 * Each thread of the pool may have NEWS_MOST of them on their way. What comes beyond that is dropped, and
 * when the thread has run those it has, it is told once that it has missed something: by a notice that stands
 * for all of them. So a thread that computes for long costs the others nothing, and every change is told, by
 * itself or with others, after it was made. Threads: any. */
#ifndef RUNTIME_NEWS_H
#define RUNTIME_NEWS_H

#include "runtime/notice.h"

enum { NEWS_MOST = 64 };

typedef struct news news;

/* `instead` is the arguments of the notice that stands for others. Texts are copied. Returns: NULL when
 * memory is short. */
news *news_new(notices *n, const char *name, str instead);

/* The pool's threads have ended. NULL is fine. */
void news_free(news *w);

/* Tell all threads, with the arguments, a JSON array. If memory is short, a thread is told at the next time
 * that it has missed something. */
void news_tell(news *w, str arguments);

/* Tell one thread, or all if `to` is NULL, that it may have missed something. */
void news_tell_missed(news *w, const inbox *to);

#endif
