/* A process that uses queues, for tests that need another one, or one to kill.
 *
 *     mq_driver URL                      does what it is told, a line each, and answers each with a line:
 *         push QUEUE BODY                "pushed"
 *         take QUEUE LEASE_MS            "took BODY ATTEMPT", or "nothing"
 *         ack                            what was taken last: "acknowledged"
 *         watch QUEUE                    "watching"; and later "ready QUEUE", each time
 *     mq_driver URL storm FIRST SEED     threads push and settle without end (tests/mq_storm.h); a line for
 *                                        each event: its letter and the message's id
 *
 * It ends with its input; whatever fails is "error" with the text. */
#include "tests/mq_storm.h"

#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

enum { THREADS = 4, IDS_A_THREAD = 2000, LINE_BYTES = 512, WATCHERS = 8 };

/* In one write, so that lines of threads, and of one that is killed, stay whole. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (n > (int)sizeof(line) - 2)
        n = (int)sizeof(line) - 2;
    line[n] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)n + 1) != n + 1)
        _exit(1); /* nobody listens */
}

/* --- storms --- */

static void on_report(storm *s, storm_event event, long id)
{
    (void)s;
    say("%c %ld", event, id);
}

static void on_failed(storm *s, const mq_op *op)
{
    (void)s;
    say("error %s", op->error);
}

static void *storm_main(void *user)
{
    storm_run(user);
    return NULL;
}

static int run_storms(mq *q, long first, uint64_t seed)
{
    static storm storms[THREADS];
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) {
        storms[i] = (storm){.q = q, .queue = "a", .operations = -1, .report = on_report, .failed = on_failed};
        storms[i].random = seed * THREADS + (uint64_t)i + 1;
        storms[i].next = first + i * IDS_A_THREAD;
        storms[i].last = storms[i].next + IDS_A_THREAD;
        if (pthread_create(&threads[i], NULL, storm_main, &storms[i]))
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* --- commands --- */

static mq_message *taken;
static char taken_queue[MQ_NAME_BYTES];

static void call(mq *q, mq_op *op, const char *answer)
{
    if (mq_call(q, op))
        say("error %s", op->error);
    else if (answer)
        say("%s", answer);
}

static void take(mq *q, const char *queue, const char *lease)
{
    mq_op op = {.verb = MQ_TAKE, .queue = queue, .most = 1, .lease_ms = strtoll(lease, NULL, 10)};
    call(q, &op, NULL);
    if (op.messages)
        say("took %s %u", op.messages->body.p, op.messages->attempt);
    else if (!op.err)
        say("nothing");
    mq_message_free(taken);
    taken = op.messages;
    snprintf(taken_queue, sizeof(taken_queue), "%s", queue);
}

static void on_ready(void *user)
{
    say("ready %s", (const char *)user);
}

static void watch(mq *q, const char *queue)
{
    static mq_watcher watchers[WATCHERS];
    static char names[WATCHERS][MQ_NAME_BYTES];
    static int n;
    if (n == WATCHERS)
        exit(1);
    snprintf(names[n], sizeof(names[n]), "%s", queue);
    watchers[n] = (mq_watcher){.queue = names[n], .ready = on_ready, .user = names[n]};
    say("watching");
    mq_watch(q, &watchers[n++]);
}

static void obey(mq *q, char *line)
{
    char *verb = strtok(line, " \n"), *queue = strtok(NULL, " \n"), *rest = strtok(NULL, "\n");
    mq_op push = {.verb = MQ_PUSH, .queue = queue, .body = str_from(rest)};
    mq_op ack = {.verb = MQ_ACK, .queue = taken_queue, .messages = taken};
    if (verb && strcmp(verb, "push") == 0 && rest)
        call(q, &push, "pushed");
    else if (verb && strcmp(verb, "take") == 0 && rest)
        take(q, queue, rest);
    else if (verb && strcmp(verb, "ack") == 0)
        call(q, &ack, "acknowledged");
    else if (verb && strcmp(verb, "watch") == 0 && queue)
        watch(q, queue);
    else
        say("error no command: %s", verb ? verb : "");
}

int main(int argc, char **argv)
{
    char error[MQ_ERROR_BYTES], line[LINE_BYTES];
    mq_config config = {0};
    mq *q;
    if (argc < 2) {
        fputs("usage: mq_driver URL [storm FIRST SEED]\n", stderr);
        return 2;
    }
    if (mq_open(argv[1], &config, &q, error, sizeof(error))) {
        say("error %s", error);
        return 1;
    }
    if (argc == 5)
        return run_storms(q, strtol(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    while (fgets(line, sizeof(line), stdin))
        obey(q, line);
    mq_close(q);
    mq_message_free(taken);
    return 0;
}
