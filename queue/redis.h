/* redis: a client of one Redis server, for whatever in this process keeps its data there.
 *
 * It has a thread of its own and two connections: one for the commands of all threads, which are pipelined,
 * and one for subscriptions, made when there is the first. Whoever submits a command goes on at once; `done`
 * is called on the client's thread with the reply.
 *
 * Each command has a deadline. What is not answered by then is told -ETIMEDOUT, and the connection is made
 * anew, since a reply that comes later must not be taken for another command's. While there is no connection
 * it is tried again at once and then at least twice a second; commands wait for it until their deadline.
 * Resolving a server's name blocks the client's thread, so an address or a name of /etc/hosts is better. */
#ifndef QUEUE_REDIS_H
#define QUEUE_REDIS_H

#include <stdint.h>

#include "queue/sha1.h"
#include "queue/str.h"

enum { REDIS_ERROR_BYTES = 256, REDIS_PORT = 6379 };

typedef struct redis redis;

/* --- where it is --- */

typedef struct redis_address {
    char host[256]; /* or "": it is a Unix socket */
    int port;
    char path[108];
    char user[128];
    char password[512]; /* "": none */
    int db;
} redis_address;

/* Read "//[[USER]:PASSWORD@]HOST[:PORT][/DB]" or the path of a Unix socket: an address without its scheme and
 * parameters. USER and PASSWORD are percent-decoded; an IPv6 address stands in brackets.
 * Returns: 0, or -EINVAL with `error` saying what is wrong with it. */
int redis_address_read(str text, redis_address *ret, char *error, size_t size);

/* --- replies --- */

/* A reply or a part of one; lives until `done` returns. NULL is fine for all of these: it is nothing. */
typedef struct redisReply redis_reply;

str redis_text(const redis_reply *reply);        /* of a string or status; .p is NULL if it is neither */
int64_t redis_integer(const redis_reply *reply); /* of an integer, or a string that is one; else 0 */
size_t redis_count(const redis_reply *reply);    /* elements of an array; else 0 */
const redis_reply *redis_item(const redis_reply *reply, size_t i); /* NULL: there is none */

/* --- life --- */

typedef struct redis_options {
    redis_address address;
    int64_t timeout_ms;
    void (*tell)(void *user, int level, const char *text); /* level: 0 error, 1 warn, 2 info. On any thread */
    void *tell_user;
    /* If set: called on the client's thread when it is due or redis_wake was called. Returns: in how many
     * milliseconds it is due again. */
    int64_t (*turn)(void *user);
    void *turn_user;
} redis_options;

/* Start the thread, and wait for the end of the first attempt to connect.
 * Returns: 0, and also when there is no server yet: that is told, and it is tried again; -EACCES the password
 * is wrong, -EINVAL there is no database of that number, -EPROTO it is no Redis server, or another -errno,
 * with `error` filled. */
int redis_open(const redis_options *options, redis **ret, char *error, size_t size);

/* What was sent is waited for until its deadline; all else ends with -ESHUTDOWN. `done`, `turn` and messages
 * of subscriptions do not come after it has returned. Thread: not the client's. NULL is fine. */
void redis_close(redis *r);

/* Have `turn` called soon. Thread: any. */
void redis_wake(redis *r);

/* Milliseconds of the monotonic clock. */
int64_t redis_now_ms(void);

/* --- commands --- */

/* err: 0 and the reply; or
 *   -ETIMEDOUT  no answer by the deadline, and -ENOTCONN, the connection broke: whether it was done is not
 *               known, unless the text says "not connected": then it was not sent
 *   -ENOSPC     the server's memory is full; -EIO: it cannot write to its disk
 *   -EAGAIN     it cannot do that now: it loads, is a read-only copy, or runs a script for too long
 *   -EACCES     the server does not allow it;  -EPROTO: any other error that it answered
 *   -ESHUTDOWN, -ENOMEM
 * `error` is a text for people that names the server; "" if err is 0. */
typedef void redis_done(void *user, int err, const char *error, const redis_reply *reply);

typedef struct redis_arguments {
    int n;
    const char *const *p;
    const size_t *bytes;
} redis_arguments;

/* Submit one. The arguments are copied. `done` is called once, on the client's thread; on this one and before
 * it returns if memory is short or the client is being closed. Thread: any. */
void redis_submit(redis *r, redis_arguments arguments, redis_done *done, void *user);

/* A script that the server keeps under its digest. */
typedef struct redis_script {
    str text; /* borrowed, and lives as long as the client */
    char digest[SHA1_HEX_BYTES];
} redis_script;

void redis_script_init(redis_script *script, str text);

/* Submit a call of it. The arguments are those of EVALSHA: the first is left to this function, then follow
 * the number of keys, the keys and the rest. A server that does not know the script is told it. */
void redis_submit_script(redis *r, const redis_script *script, redis_arguments arguments, redis_done *done,
                         void *user);

/* --- subscriptions --- */

/* A message came on that channel. message.p is NULL after the server has confirmed the subscription, so also
 * when the connection was made anew: messages may have been missed. Thread: the client's. */
typedef void redis_message(void *user, const char *channel, str message);

/* All subscriptions of a client are told by one function, which is set once and before the first of them. */
void redis_on_message(redis *r, redis_message *message, void *user);

/* Returns: 0, or -ENOMEM. A channel that is subscribed already is subscribed once. Thread: any. */
int redis_subscribe(redis *r, const char *channel);
void redis_unsubscribe(redis *r, const char *channel);

#endif
