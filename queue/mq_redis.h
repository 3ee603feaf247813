/* mq_redis: what the files of the queues on Redis share. The keys and what is done with them in one step: the
 * scripts, queue/lua/redis_*.lua. */
#ifndef QUEUE_MQ_REDIS_H
#define QUEUE_MQ_REDIS_H

#include <pthread.h>
#include <stdatomic.h>

#include "queue/mq.h"
#include "queue/redis.h"
#include "queue/watchers.h"

enum {
    PREFIX_BYTES = 64,
    STEM_BYTES = PREFIX_BYTES + MQ_NAME_BYTES + 8, /* "PREFIX:{NAME}:" and a short word */
    TOKEN_BYTES = 64,
    QUEUE_BUCKETS = 1024
};

/* Name, and whether it stands alone: the others begin with what is common. */
#define MQ_REDIS_SCRIPTS(X)                                                                                  \
    X(push, false)                                                                                           \
    X(push_once, true)                                                                                       \
    X(take, false)                                                                                           \
    X(ack, false)                                                                                            \
    X(retry, false)                                                                                          \
    X(dead, false)                                                                                           \
    X(extend, false)                                                                                         \
    X(progress, false)                                                                                       \
    X(stats, false)                                                                                          \
    X(peek, false)                                                                                           \
    X(purge, false)                                                                                          \
    X(revive, false)                                                                                         \
    X(rescue, false)                                                                                         \
    X(claim, true)

#define X(name, alone) SCRIPT_##name,
typedef enum mq_redis_script { MQ_REDIS_SCRIPTS(X) SCRIPTS } mq_redis_script;
#undef X

/* What this process knows of a queue. Never freed before the engine is. */
typedef struct mq_redis_queue {
    struct mq_redis_queue *next;      /* [lock] in its bucket */
    _Atomic int64_t named_ms;         /* [any] until when its name is known to be in the list of names */
    bool publishing;                  /* [lock] news of it is under way to the other nodes ... */
    bool news;                        /* [lock] ... and there is newer, */
    int64_t news_ms;                  /* [lock] due in so long */
    struct mq_redis_call *full;       /* [lock] pushes that wait for room, the first first */
    bool trying;                      /* [lock] the first of them is under way */
    bool is_full;                     /* [lock] is in the list of those in which pushes wait, or did once */
    struct mq_redis_queue *next_full; /* [lock] */

    unsigned watchers;                   /* [lock] how many */
    int64_t due_ms;                      /* [lock] when they are to be called */
    int64_t rescue_ms;                   /* [lock] when to look for messages that are held without a lease */
    bool listed;                         /* [lock] is in the list of those that are watched, or were once */
    struct mq_redis_queue *next_watched; /* [lock] */
    char name[MQ_NAME_BYTES];
} mq_redis_queue;

typedef struct mq_redis_call mq_redis_call;

typedef struct mq_redis_engine {
    const mq *mq;
    redis *client;
    char prefix[PREFIX_BYTES];
    char node[MQ_ID_BYTES]; /* who takes: the consumer's name */
    char self[MQ_ID_BYTES]; /* whose news this is */
    int64_t most;           /* messages a queue may hold; 0: any number */
    redis_script scripts[SCRIPTS];

    pthread_mutex_t lock; /* never held while anything outside is called */
    mq_redis_queue *queues[QUEUE_BUCKETS];
    mq_redis_queue *full; /* [lock] those in which pushes wait */

    mq_redis_queue *watched; /* [lock] */
    int64_t all_ms;          /* [lock] when all watchers are to be called */
    watchers *watchers;
} mq_redis_engine;

/* An operation under way. */
struct mq_redis_call {
    mq_redis_engine *engine;
    mq_op *op;
    mq_redis_call *next;
    mq_redis_queue *queue; /* where it is for one of these */
    bool waits;            /* a push that waits for room, and ... */
    int64_t again_ms;      /* ... when it is tried again */
    unsigned messages;
    char place[TOKEN_BYTES]; /* of an operation in steps: where it is */
    size_t under_way;        /* of one in parts: how many are asked for */
};

/* --- mq_redis_words.c: a command being put together --- */

enum { WORDS_INLINE = 24, NUMBERS_MAX = 8 };

typedef struct words {
    int n, room;
    const char **p;
    size_t *bytes;
    const char *inline_p[WORDS_INLINE];
    size_t inline_bytes[WORDS_INLINE];
    char numbers[NUMBERS_MAX][24];
    unsigned numbers_n;
} words;

/* Make room for that many. Returns: 0, or -ENOMEM. */
int words_init(words *w, size_t room);
void words_fini(words *w);
void words_add(words *w, str word);
void words_number(words *w, int64_t number);
redis_arguments words_arguments(const words *w);

/* --- mq_redis_message.c --- */

/* The messages of the replies to the scripts take and peek. Returns: 0 and the list, or -ENOMEM. */
int mq_redis_taken(const redis_reply *reply, mq_message **ret);
int mq_redis_peeked(const redis_reply *reply, mq_message **ret);

/* --- mq_redis_operation.c --- */

void mq_redis_submit(void *self, mq_op *op);
void mq_redis_finish(mq_redis_call *c, int err, const char *error);

/* A call of a script begins with these words; `more` than a few may follow. Returns: 0, or -ENOMEM. */
int mq_redis_begin(words *w, const mq_redis_engine *e, const char *queue, size_t more,
                   char stem[static STEM_BYTES]);
/* Ends the words too. */
void mq_redis_submit_script(mq_redis_engine *e, mq_redis_script script, words *w, redis_done *done,
                            void *user);

/* --- mq_redis_stats.c, mq_redis_upkeep.c --- */

void mq_redis_stats(mq_redis_call *c);
void mq_redis_peek(mq_redis_call *c);
void mq_redis_purge(mq_redis_call *c);
void mq_redis_revive(mq_redis_call *c);
/* Look for messages that are held without a lease. */
void mq_redis_rescue(mq_redis_engine *e, mq_redis_queue *q);

/* --- mq_redis_push.c --- */

void mq_redis_push(mq_redis_call *c);
/* Put the queue onto the list of names, in front of what puts a message into it. */
void mq_redis_name(mq_redis_engine *e, mq_redis_queue *q);
/* Try pushes that wait for room again, or end them. Returns: in how many ms that is due again. */
int64_t mq_redis_retry_full(mq_redis_engine *e);
void mq_redis_end_full(mq_redis_engine *e);

/* --- mq_redis_watch.c --- */

/* Returns: NULL when memory is short. */
mq_redis_queue *mq_redis_queue_of(mq_redis_engine *e, const char *name);

/* Something is ready there in so long: tell the watchers of this process and of others. */
void mq_redis_announce(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms);
/* The same for this process only. */
void mq_redis_expect(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms);

void mq_redis_watch(void *self, mq_watcher *w);
void mq_redis_unwatch(void *self, mq_watcher *w);
void mq_redis_on_message(void *self, const char *channel, str message);
/* Call the watchers whose time has come. Returns: in how many ms that is due again. */
int64_t mq_redis_turn(void *self);

/* --- mq_redis_publish.c --- */

void mq_redis_publish(mq_redis_call *c);
int mq_redis_listen(void *self, const char *name);
/* A message of a subscription: is it of a channel that is listened to? Then it was told. */
bool mq_redis_hear(mq_redis_engine *e, const char *channel, str message);

#endif
