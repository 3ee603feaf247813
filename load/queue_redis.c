/* queue_redis: how fast messages are pushed to a queue on Redis, with so many under way on one connection.
 *
 * Usage: load_queue_redis URL [UNDER_WAY [MESSAGES [BODY_BYTES [id|plain]]]]
 * Each push that is done submits the next one. `id` gives each an id and a window, so it is a script. Prints
 * one line: pushes a second, and the processor time of this process for one. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/mq.h"

enum { UNDER_WAY = 64, MESSAGES = 500000, BODY_BYTES = 100, WINDOW_MS = 60000 };

typedef struct load {
    mq *queues;
    str body;
    bool with_id;
    atomic_long left; /* to be submitted */
    atomic_long open; /* under way */
    atomic_int failed;
    sem_t done;
} load;

typedef struct pusher {
    mq_op op; /* first */
    load *load;
    char id[MQ_ID_BYTES];
} pusher;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_done(mq_op *op);

static void push(pusher *p)
{
    load *l = p->load;
    if (atomic_fetch_sub(&l->left, 1) <= 0) {
        if (atomic_fetch_sub(&l->open, 1) == 1)
            sem_post(&l->done);
        return;
    }
    p->op = (mq_op){.verb = MQ_PUSH, .queue = "load", .body = l->body, .done = on_done};
    if (l->with_id) {
        mq_make_id(p->id);
        p->op.id = p->id;
        p->op.window_ms = WINDOW_MS;
    }
    mq_submit(l->queues, &p->op);
}

static void on_done(mq_op *op)
{
    pusher *p = (pusher *)op;
    if (op->err && atomic_fetch_add(&p->load->failed, 1) == 0)
        fprintf(stderr, "%s\n", op->error);
    push(p);
}

static void on_tell(void *user, int level, const char *text)
{
    (void)user, (void)level;
    fprintf(stderr, "%s\n", text);
}

static long number(int argc, char **argv, int i, long preset)
{
    return argc > i ? strtol(argv[i], NULL, 10) : preset;
}

int main(int argc, char **argv)
{
    char error[MQ_ERROR_BYTES];
    static const mq_config config = {.tell = on_tell};
    long under_way = number(argc, argv, 2, UNDER_WAY), messages = number(argc, argv, 3, MESSAGES);
    size_t bytes = (size_t)number(argc, argv, 4, BODY_BYTES);
    load l = {.with_id = argc > 5 && strcmp(argv[5], "id") == 0, .left = messages, .open = under_way};
    char *body = malloc(bytes + 1);
    pusher *pushers = calloc((size_t)under_way, sizeof(*pushers));
    if (argc < 2 || !body || !pushers || mq_open(argv[1], &config, &l.queues, error, sizeof(error)) < 0) {
        fprintf(stderr, "queue_redis: %s\n",
                argc < 2 ? "URL [UNDER_WAY [MESSAGES [BODY_BYTES [id]]]]" : error);
        free(body);
        free(pushers);
        return 1;
    }
    memset(body, 'x', bytes);
    l.body = (str){body, bytes};
    sem_init(&l.done, 0, 0);
    double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < under_way; i++) {
        pushers[i].load = &l;
        push(&pushers[i]);
    }
    while (sem_wait(&l.done) < 0)
        ;
    double took = seconds(CLOCK_MONOTONIC) - begin;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%.0f pushes/s, %.2f us of this process each, %d failed\n", (double)messages / took,
           cpu / (double)messages * 1e6, atomic_load(&l.failed));
    mq_close(l.queues);
    free(pushers);
    free(body);
    return atomic_load(&l.failed) > 0;
}
