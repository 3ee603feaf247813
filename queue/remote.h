/* store: dictionaries and locks in a Redis server, for whoever in this process uses that server.
 *
 * An entry is a hash of its own, with its version, so that one command reads it; a change is one script.
 * Versions are of one counter a dictionary, which follows the time as well: they grow also when the entry is
 * gone, or the counter. Redis governs the memory (maxmemory); what it removes, by time or for room, is not
 * told to watchers. Keys: PREFIX:dict:{NAME}:v:KEY and PREFIX:dict:{NAME}:version; those of locks begin
 * PREFIX:lock.
 *
 * Threads: any. */
#ifndef QUEUE_REMOTE_H
#define QUEUE_REMOTE_H

#include "queue/dict.h"

enum { REMOTE_NAME_BYTES = 65, REMOTE_ERROR_BYTES = 256 };

typedef struct remote remote;

typedef void remote_tell(void *user, int level, const char *text); /* level: 0 error, 1 warn, 2 info */

/* Is it an address of one: "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]" or "redis+unix:PATH", with the
 * parameters of the queues: timeout_ms, prefix, and for a Unix socket db, user and password? Returns: 0, or
 * -EINVAL with `error` filled. */
int remote_check(const char *url, char *error, size_t size);

/* Connect; a server that is not there yet is tried again. Returns: 0, or -errno with `error` filled, as
 * redis_open. */
int remote_open(const char *url, remote_tell *tell, void *user, remote **ret_s, char *error, size_t size);

/* What is under way ends, and nothing is called any more. Watchers must be gone. NULL is fine. */
void remote_close(remote *s);

/* Wait until nothing is under way: each operation has its time. */
void remote_settle(remote *s);

/* --- operations --- */

typedef enum remote_verb {
    REMOTE_GET,    /* value, version; -ENOENT */
    REMOTE_TTL,    /* ttl_ns, as dict_ttl_ns */
    REMOTE_KEYS,   /* bytes, as dict_keys, and count: `most` of them; one may come twice */
    REMOTE_COUNT,  /* count: of the entries */
    REMOTE_PUT,    /* as dict_put */
    REMOTE_ADD,    /* as dict_add */
    REMOTE_DELETE, /* as dict_delete */
    REMOTE_TOUCH,  /* as dict_touch */
    REMOTE_FLUSH   /* as dict_flush */
} remote_verb;

/* The caller's memory until `done` is called, once, on any thread, and maybe before remote_submit returns. */
typedef struct remote_op {
    remote_verb verb;
    bool lock;        /* the key is a lock's name; then there is no dictionary */
    const char *dict; /* copied, as are key and bytes */
    str key;
    dict_value
        value; /* of REMOTE_PUT; REMOTE_ADD: what is added; then the result's, whose bytes are in `bytes` */
    dict_value init;
    dict_change how;
    size_t most;
    void (*done)(struct remote_op *op);
    void *user;

    int err;
    char error[REMOTE_ERROR_BYTES]; /* if it is the server's or the connection's: a text that names it */
    buf bytes;                      /* the caller frees it */
    uint64_t version, ttl_ns;
    size_t count;

    remote *store; /* the store's: */
    bool told;
    size_t stem_n;
    char stem[160];
} remote_op;

void remote_submit(remote *s, remote_op *op);

/* The same, and wait for the end. */
void remote_call(remote *s, remote_op *op);

/* --- watching --- */

/* Told of the changes that anybody makes, by the client's thread. DICT_FLUSHED also when the connection was
 * made anew, as some may have been missed. Memory as dict_watch's. Returns: 0 or -ENOMEM. */
int remote_watch(remote *s, const char *dict_name, dict_watcher *w);
/* It is not called any more when this returns. Not from `changed`. */
void remote_unwatch(remote *s, dict_watcher *w);

#endif
