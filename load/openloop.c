/* openloop: requests at a fixed rate, whatever the server does.
 *
 * A client that waits for a reply before it sends the next request goes easy on a server that stalls: the
 * requests that would have come meanwhile are never sent, and never counted as slow. Here request number k is
 * due at start + k / rate, and its latency is counted from then, also when it had to wait for a free
 * connection. A request that is given up counts as one that took the timeout.
 *
 * It loads the machine it runs on and no other.
 * Exit codes: 0 all replies were right, 1 there were errors or wrong replies, 2 usage, 3 no connection. */
#include "client.h"

#include <math.h>

typedef struct openloop {
    client cl;
    double rate;
    uint64_t requests;
    uint64_t next; /* number of the next request to send */
} openloop;

/* When request number k is due. */
static uint64_t due_ns(const openloop *op, uint64_t k)
{
    return op->cl.start_ns + (uint64_t)((double)k * ((double)NS_PER_S / op->rate));
}

/* Sends what is due as far as connections are free. */
static void send_due(openloop *op)
{
    while (op->next < op->requests && due_ns(op, op->next) <= now_ns()) {
        conn *c = idle_pop(&op->cl);
        if (!c)
            return;
        conn_start(&op->cl, c, due_ns(op, op->next++));
    }
}

/* Gives up what was due too long ago and could not even be sent. */
static void give_up(openloop *op)
{
    client *cl = &op->cl;
    uint64_t now = now_ns();
    for (; op->next < op->requests && due_ns(op, op->next) + cl->tg.timeout_ns < now; op->next++) {
        if (cl->idle_count == 0 && cl->busy == 0)
            cl->tally.refused++;
        else
            count_timeout(cl);
    }
}

static void run(openloop *op)
{
    client *cl = &op->cl;
    client_connect(cl);
    while (op->next < op->requests || cl->busy > 0) {
        if (now_ns() >= cl->sweep_ns) {
            give_up(op);
            client_sweep(cl);
        }
        send_due(op);

        uint64_t wake_ns = cl->sweep_ns;
        if (cl->idle_count > 0 && op->next < op->requests && due_ns(op, op->next) < wake_ns)
            wake_ns = due_ns(op, op->next);
        client_wait_until(cl, wake_ns);
    }
}

static const char usage_text[] =
    "usage: load_openloop [options] http://127.0.0.1:PORT/PATH\n"
    "  --rate R               requests a second (1000)\n"
    "  --requests N           this many requests in place of a duration\n" TARGET_USAGE;

enum { OPT_RATE = TARGET_OPTIONS, OPT_REQUESTS };

static const struct option option_names[] = {
    {"rate", required_argument, NULL, OPT_RATE},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    TARGET_OPTION_NAMES,
    {0},
};

static void parse(openloop *op, int argc, char **argv)
{
    target *tg = &op->cl.tg;
    int id, index = 0;
    *tg = (target){.program = "openloop", .duration_s = 10, .connections = 64, .timeout_ns = 5 * NS_PER_S};
    op->rate = 1000;
    while ((id = getopt_long(argc, argv, "", option_names, &index)) != -1) {
        if (id == OPT_RATE)
            op->rate = target_number(tg, "rate", optarg, 0.001, 1e7);
        else if (id == OPT_REQUESTS)
            op->requests = (uint64_t)target_number(tg, "requests", optarg, 1, 1e12);
        else
            target_option(tg, id, option_names[index].name, usage_text);
    }
    target_finish(tg, argc, argv, usage_text);
    if (op->requests == 0)
        op->requests = (uint64_t)ceil(op->rate * tg->duration_s);
}

int main(int argc, char **argv)
{
    static openloop op;
    parse(&op, argc, argv);
    client_init(&op.cl);
    run(&op);
    int code = client_report(&op.cl, op.rate, "from when each request was due");
    client_fini(&op.cl);
    return code;
}
