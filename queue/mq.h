/* mq: named message queues, on one of several engines behind one table of functions.
 *
 * A queue exists as soon as something is pushed to it. A message is a JSON text with an id; it is delivered
 * at least once: whoever takes it holds it for a lease, and settles it by one of MQ_ACK, MQ_RETRY, MQ_DEAD
 * and MQ_GIVE_BACK. What is not settled in time, since its process has ended, is delivered again. Each
 * delivery counts as an attempt, from 1 on, so one that ends the process counts too.
 *
 * Everything is asked for by an operation, mq_op. An engine may answer at once, in mq_submit, or later from a
 * thread of its own; it never blocks the caller. Threads: any, unless it says otherwise. Times are in
 * milliseconds; a moment is the wall clock's, since 1970. */
#ifndef QUEUE_MQ_H
#define QUEUE_MQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/str.h"

enum {
    MQ_PRIORITIES = 10,   /* 0 is usual, 9 is the first; equal ones in the order they became ready */
    MQ_NAME_BYTES = 128,  /* of a queue's name, NUL included: letters, digits and "._-" */
    MQ_ID_BYTES = 128,    /* of a message's id, NUL included: any printable ASCII but space */
    MQ_ERROR_BYTES = 256, /* of an operation's error, NUL included */
    MQ_NOTE_MAX = 8192,   /* bytes kept of what ended the last attempt */
    MQ_TAKE_MAX = 1024    /* messages in one operation */
};

typedef struct mq mq;

/* One message, in one block with its texts. Whoever is given it frees it by mq_message_free. */
typedef struct mq_message {
    struct mq_message *next;
    str body;         /* JSON; NUL behind it */
    const char *id;   /* the app's, or one that was made */
    const char *from; /* of a dead letter: the queue it came from; else "" */
    const char *note; /* what ended its last attempt, or "" */
    unsigned
        attempt; /* of a delivered one: which this is, from 1 on; of one that waits: how many there were */
    int priority;
    int64_t pushed_ms; /* when */
    int64_t due_ms;    /* when it is or was ready; of a taken one: when its lease ends */
    double progress;   /* what MQ_PROGRESS said last; negative: nothing */
    bool taken;        /* for MQ_PEEK: somebody holds it */
    uint64_t handle;   /* the engine's: where it is ... */
    uint64_t lease;    /* ... and which delivery this is */
    const char *token; /* the engine's: the same as text, or "" */
    atomic_uint refs;  /* who has it: mq_message_ref and mq_message_unref */
} mq_message;

/* Make one: the texts are copied, NULL counts as "". Returns: NULL when memory is short. */
mq_message *mq_message_new(str body, const char *id, const char *from, const char *note, const char *token);
/* Free a whole list. NULL is fine. */
void mq_message_free(mq_message *list);

/* What is known of a queue. */
typedef struct mq_stats {
    char name[MQ_NAME_BYTES];
    uint64_t ready, delayed, taken; /* messages: can be taken now, later, are held by a consumer */
    int64_t oldest_ms;              /* when the oldest ready one became ready; 0: there is none */
} mq_stats;

typedef enum mq_verb {
    MQ_PUSH, /* in: queue, body, id, delay_ms, priority, window_ms, wait_ms; out: id_text, duplicate */
    MQ_TAKE, /* in: queue, most, lease_ms (0, no lease, is for engines that do not survive the process alone);
                out: messages, none if there are none */
    MQ_ACK,  /* in: queue, messages (borrowed, a list): they are done */
    MQ_RETRY,     /* in: queue, messages, delay_ms, note: deliver again after that */
    MQ_DEAD,      /* in: queue, messages, note, to: move to the queue `to`; "": forget them */
    MQ_GIVE_BACK, /* in: queue, messages: they were not tried; ready again, and the attempt does not count */
    MQ_EXTEND,    /* in: queue, messages (one), lease_ms: the lease ends so long from now */
    MQ_PROGRESS,  /* in: queue, messages (one), progress */
    MQ_STATS,     /* in: queue ("": all); out: stats, count */
    MQ_PEEK,   /* in: queue, most; out: messages, copies: ready ones first in their order, then delayed, taken
                */
    MQ_REVIVE, /* in: queue, id ("": all): dead letters go back to where they came from, ready and as never
                  tried; delayed messages become ready; out: count */
    MQ_PURGE,  /* in: queue: all that nobody holds is gone; out: count */
    MQ_CLAIM,  /* in: queue (the name of a clock's entry), moment_ms: out: duplicate: that moment, or a later
                  one, was claimed already, by anyone who shares the engine. Else it is now the caller's */
    MQ_LAST,   /* in: queue (as above); out: moment_ms: the last one claimed, or 0 */
    MQ_PUBLISH /* in: queue (a channel's name), body: all who share the engine and listen hear it, once, if
                  they are there just now */
} mq_verb;

/* One operation. The caller's memory, and not to be touched by him until `done` is called; the engine does
 * not touch it from then on. Texts that go in must stay until then. */
typedef struct mq_op {
    mq_verb verb;
    const char *queue;
    str body;
    const char *id; /* NULL or "": none */
    const char *note, *to;
    int64_t delay_ms, lease_ms;
    int64_t window_ms; /* MQ_PUSH with an id: a message of the same id pushed within it is not pushed again */
    int64_t wait_ms;   /* MQ_PUSH to a full queue: how long to wait for room */
    int64_t moment_ms;
    double progress;
    int priority;
    unsigned most;

    mq_message *messages;
    mq_stats *stats; /* out: malloc'ed, the caller's */
    uint64_t count;
    bool duplicate;
    char id_text[MQ_ID_BYTES];

    /* 0; or what went wrong, with a text for people that names the queue or the engine's address:
     * -EAGAIN the queue is full; -ENOSPC the disk or the server's memory is; -EIO the disk fails; -ETIMEDOUT
     * or -ENOTCONN the server does not answer, and whether it was done is not known; -ESTALE some of the
     * messages are not held by the caller any more, the others were settled; -ESHUTDOWN; -ENOMEM; -EPROTO */
    int err;
    char error[MQ_ERROR_BYTES];

    void (*done)(struct mq_op *op); /* once; on any thread, and maybe before mq_submit returns */
    void *user;

    struct mq_op *next; /* the engine's, while it has it */
    int64_t until_ms;   /* likewise */
} mq_op;

/* Somebody who takes from a queue. The caller's memory, while it is set. `ready` is called on any thread when
 * a message has become ready to be taken, or may have; also once after mq_watch. It must not block. */
typedef struct mq_watcher {
    struct mq_watcher *next; /* the engine's */
    const char *queue;
    void (*ready)(void *user);
    void *user;
} mq_watcher;

typedef struct mq_config {
    void (*tell)(void *user, int level, const char *text); /* level: 0 error, 1 warn, 2 info. On any thread */
    /* A message came on a channel that mq_listen was called for. On any thread, maybe inside mq_submit; it
     * must not block. NULL: nobody listens. */
    void (*heard)(void *user, const char *channel, str body);
    void *user;
} mq_config;

/* An engine. */
typedef struct mq_engine {
    const char *scheme; /* "memory" */
    bool survives;      /* what was pushed is there after the process has ended */
    /* Returns: 0 and *ret_self, or -errno with `error` filled. `rest` is the address behind "scheme:",
     * without the parameters; mq_parameter reads these. */
    int (*open)(const mq *q, const char *rest, void **ret_self, char *error, size_t size);
    /* Complete what is under way, with -ESHUTDOWN where it has to be; `done` and `ready` are not called after
     * it has returned. */
    void (*close)(void *self);
    void (*submit)(void *self, mq_op *op);
    void (*watch)(void *self, mq_watcher *w);
    void (*unwatch)(void *self, mq_watcher *w); /* `ready` is not called after it has returned */
    /* Hear a channel from now on: call mq_heard for what comes. Returns: 0 or -ENOMEM. NULL: the engine
     * reaches nobody but this process, and never sees MQ_PUBLISH. */
    int (*listen)(void *self, const char *channel);
} mq_engine;

extern const mq_engine mq_memory, mq_sqlite, mq_redis;

/* Open by address: "memory:", "sqlite:PATH", "redis://[:PASSWORD@]HOST[:PORT][/DB]", "redis+unix:PATH", each
 * with parameters "?name=value&..." of its own. Returns: 0, or -EINVAL or another -errno with `error` saying
 * what is wrong with it and what would be right. */
int mq_open(const char *url, const mq_config *config, mq **ret_mq, char *error, size_t size);

/* Open an engine that has no address. The name is what mq_address says. Returns: as mq_open. */
int mq_open_engine(const mq_engine *engine, const char *name, const mq_config *config, mq **ret_mq,
                   char *error, size_t size);

/* NULL is fine. */
void mq_close(mq *q);

void mq_submit(mq *q, mq_op *op);
/* Submit and wait: blocks the calling thread. `done` and `user` are this function's. Returns: op->err. */
int mq_call(mq *q, mq_op *op);

void mq_watch(mq *q, mq_watcher *w);
void mq_unwatch(mq *q, mq_watcher *w);

/* Have mq_config.heard told of a channel's messages, for as long as it is open. Returns: 0 or -ENOMEM. */
int mq_listen(mq *q, const char *channel);

/* The address without its password, for messages. And whether messages outlive the process. */
const char *mq_address(const mq *q);
bool mq_survives(const mq *q);

/* Is it fit for a queue's name, or a message's id? */
bool mq_name_is_good(str name);
bool mq_id_is_good(str id);

/* --- for engines --- */

/* The parameter of that name as a number from `least` to `most`, or the preset where it is not given.
 * Returns: 0, or -EINVAL with `error` naming it. Those that were not asked for are refused by mq_open. */
int mq_parameter(const mq *q, const char *name, int64_t least, int64_t most, int64_t preset, int64_t *ret,
                 char *error, size_t size);

/* The same for a text, which is percent-decoded; `ret` has `room` bytes for it and a NUL. */
int mq_text_parameter(const mq *q, const char *name, const char *preset, char *ret, size_t room, char *error,
                      size_t size);

const mq_config *mq_config_of(const mq *q);

/* As mq_message_new, with so many bytes of the engine's own in the same block, at (void *)(m + 1), zeroed. */
mq_message *mq_message_new_with(size_t own_bytes, str body, const char *id, const char *from,
                                const char *note, const char *token);

/* An engine may hold on to a message that it has given out: each of the two frees it, and the last does it in
 * fact. While it is shared, nobody but its taker writes to it. */
void mq_message_ref(mq_message *m);
void mq_message_unref(mq_message *m); /* this one, not its list */
bool mq_message_is_shared(const mq_message *m);

/* A message came on a channel. */
void mq_heard(const mq *q, const char *channel, str body);

/* Call op->done with that error. The text is made as printf does; NULL: strerror's. */
void mq_finish(mq_op *op, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The wall clock. */
int64_t mq_now_ms(void);

/* An id for a message without one: 26 characters, later ones greater, and no two alike on any machines. */
void mq_make_id(char text[static MQ_ID_BYTES]);
/* The same for a moment that the caller has read. */
void mq_make_id_at(char text[static MQ_ID_BYTES], int64_t now_ms);

#endif
