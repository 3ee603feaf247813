/* queue_memory: messages through the engine in memory, beside the ring that threads hand items on by.
 *
 *     load_queue_memory [--messages N] [--rounds N] [--body BYTES] [--depth N]
 *
 * One thread pushes N messages (1000000), one takes them 64 at a time, acknowledges and frees them; then the
 * same number of items, malloc'ed with the same body, goes through a bare ring. No more than --depth (16384)
 * are under way. A thread that finds nothing,
 * or no room, yields. Rounds (9) are interleaved. Prints messages per second of each round's two halves,
 * their medians, and the median of the rounds' ratios. The ring is a ruler: it has one queue, one producer,
 * one consumer, and no ids, attempts, priorities or stats. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/mq.h"
#include "queue/ring.h"

enum { TAKE_MOST = 64, ROUNDS_MAX = 1000, BODY_MAX = 65536 };

typedef struct options {
    long messages, rounds, body_bytes, depth;
} options;

static options opt = {.messages = 1000000, .rounds = 9, .body_bytes = 64, .depth = 16384};
static char body[BODY_MAX];

static void die(const char *what)
{
    fprintf(stderr, "queue_memory: %s\n", what);
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What one half of a round came to. */
typedef struct figure {
    double rate;   /* messages a second */
    double cpu_ns; /* processor time of both threads, a message; what is yielded is part of it */
} figure;

static figure figure_since(double begin, double cpu_begin)
{
    double n = (double)opt.messages;
    return (figure){n / (seconds(CLOCK_MONOTONIC) - begin),
                    (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin) * 1e9 / n};
}

/* --- the engine --- */

static void on_done(mq_op *op)
{
    (void)op;
}

static void *push_messages(void *user)
{
    for (long i = 0; i < opt.messages;) {
        mq_op op = {
            .verb = MQ_PUSH, .queue = "load", .body = {body, (size_t)opt.body_bytes}, .done = on_done};
        mq_submit(user, &op);
        if (op.err == 0)
            i++;
        else if (op.err == -EAGAIN)
            sched_yield();
        else
            die(op.error);
    }
    return NULL;
}

static void take_messages(mq *q)
{
    for (long left = opt.messages; left > 0;) {
        mq_op op = {.verb = MQ_TAKE, .queue = "load", .most = TAKE_MOST, .done = on_done};
        mq_submit(q, &op);
        if (op.err)
            die(op.error);
        if (!op.messages) {
            sched_yield();
            continue;
        }
        for (const mq_message *m = op.messages; m; m = m->next)
            left--;
        op.verb = MQ_ACK;
        mq_submit(q, &op);
        if (op.err)
            die(op.error);
        mq_message_free(op.messages);
    }
}

static figure time_engine(void)
{
    char error[MQ_ERROR_BYTES], url[64];
    mq *q;
    pthread_t producer;
    mq_config config = {.tell = NULL};
    snprintf(url, sizeof url, "memory:?max=%ld", opt.depth);
    if (mq_open(url, &config, &q, error, sizeof error) < 0)
        die(error);
    double begin = seconds(CLOCK_MONOTONIC), cpu_begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (pthread_create(&producer, NULL, push_messages, q))
        die("no thread");
    take_messages(q);
    pthread_join(producer, NULL);
    figure f = figure_since(begin, cpu_begin);
    mq_close(q);
    return f;
}

/* --- the ring --- */

static void *push_items(void *user)
{
    for (long i = 0; i < opt.messages; i++) {
        char *item = malloc((size_t)opt.body_bytes + 1);
        if (!item)
            die("out of memory");
        memcpy(item, body, (size_t)opt.body_bytes);
        while (ring_push(user, item) < 0)
            sched_yield();
    }
    return NULL;
}

static figure time_ring(void)
{
    pthread_t producer;
    ring *r = ring_new((size_t)opt.depth);
    double begin = seconds(CLOCK_MONOTONIC), cpu_begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!r || pthread_create(&producer, NULL, push_items, r))
        die("no ring or no thread");
    for (long left = opt.messages; left > 0;) {
        void *item = ring_pop(r);
        if (item)
            left--;
        else
            sched_yield();
        free(item);
    }
    pthread_join(producer, NULL);
    figure f = figure_since(begin, cpu_begin);
    ring_free(r);
    return f;
}

/* --- rounds --- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *of, long n)
{
    qsort(of, (size_t)n, sizeof *of, by_size);
    return n % 2 ? of[n / 2] : (of[n / 2 - 1] + of[n / 2]) / 2;
}

typedef struct figures {
    double rate[ROUNDS_MAX], cpu_ns[ROUNDS_MAX];
} figures;

static void keep(figures *all, long i, figure f)
{
    all->rate[i] = f.rate;
    all->cpu_ns[i] = f.cpu_ns;
}

static void print(const char *what, figures *all)
{
    printf("%s: %.0f messages/s, %.0f ns of CPU each\n", what, median(all->rate, opt.rounds),
           median(all->cpu_ns, opt.rounds));
}

static void run(void)
{
    static figures engine, bare;
    static double ratio[ROUNDS_MAX];
    time_engine(); /* warm */
    time_ring();
    for (long i = 0; i < opt.rounds; i++) {
        bool engine_first = i % 2 == 0;
        if (engine_first)
            keep(&engine, i, time_engine());
        keep(&bare, i, time_ring());
        if (!engine_first)
            keep(&engine, i, time_engine());
        ratio[i] = bare.rate[i] / engine.rate[i];
    }
    printf("%ld messages of %ld bytes, %d a take; medians of %ld rounds\n", opt.messages, opt.body_bytes,
           TAKE_MOST, opt.rounds);
    print("engine", &engine);
    print("bare ring", &bare);
    printf("ring to engine: %.2f\n", median(ratio, opt.rounds));
}

static _Noreturn void usage(int code)
{
    fputs("usage: load_queue_memory [--messages N] [--rounds N] [--body BYTES] [--depth N]\n",
          code ? stderr : stdout);
    exit(code);
}

static long number(const char *text, long least, long most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        usage(2);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"messages", required_argument, NULL, 'm'}, {"rounds", required_argument, NULL, 'r'},
        {"body", required_argument, NULL, 'b'},     {"depth", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},           {0}};
    for (int id; (id = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (id == 'm')
            opt.messages = number(optarg, 1, 1000000000);
        else if (id == 'r')
            opt.rounds = number(optarg, 1, ROUNDS_MAX);
        else if (id == 'b')
            opt.body_bytes = number(optarg, 0, BODY_MAX);
        else if (id == 'd')
            opt.depth = number(optarg, 1, 10000000);
        else
            usage(id == 'h' ? 0 : 2);
    }
    memset(body, '1', sizeof body);
    run();
    return 0;
}
