/* closedloop: as many requests as the server answers, one at a time on each connection.
 *
 * It asks what a server can do at most, and what a request costs it then. Latencies are of a client that
 * waits for its reply before it asks again, so they flatter a server that stalls: openloop.c has the others.
 * Where the server closes the connection with its reply, connecting anew is part of the next request.
 *
 * Every reply is looked at. SIGTERM or SIGINT ends it before its time, with the report. It loads the machine
 * it runs on and no other. Exit codes: 0 all replies were right, 1 there were errors or wrong replies, 2
 * usage, 3 no connection. */
#include "client.h"

#include <signal.h>

static volatile sig_atomic_t stopping;

static void on_signal(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

/* Connections take turns, so the one that was free first is used first. */
static void send_all(client *cl)
{
    conn *c;
    while ((c = idle_pop(cl)))
        conn_start(cl, c, c->opened_ns ? c->opened_ns : now_ns());
}

static void run(client *cl)
{
    client_connect(cl);
    uint64_t end_ns = cl->start_ns + (uint64_t)(cl->tg.duration_s * (double)NS_PER_S);
    for (uint64_t now = cl->start_ns; now < end_ns || cl->busy > 0; now = now_ns()) {
        if (stopping)
            end_ns = now;
        if (now >= cl->sweep_ns) {
            client_sweep(cl);
            client_arm(cl, cl->sweep_ns);
        }
        if (now < end_ns)
            send_all(cl);
        client_wait(cl);
    }
    cl->tally.refused = cl->tally.unconnected;
}

static const char usage_text[] = "usage: load_closedloop [options] http://127.0.0.1:PORT/PATH\n" TARGET_USAGE;

static const struct option option_names[] = {TARGET_OPTION_NAMES, {0}};

static void parse(target *tg, int argc, char **argv)
{
    int id, index = 0;
    *tg = (target){.program = "closedloop", .duration_s = 10, .connections = 64, .timeout_ns = 5 * NS_PER_S};
    while ((id = getopt_long(argc, argv, "", option_names, &index)) != -1)
        target_option(tg, id, option_names[index].name, usage_text);
    target_finish(tg, argc, argv, usage_text);
}

int main(int argc, char **argv)
{
    static client cl;
    parse(&cl.tg, argc, argv);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    client_init(&cl);
    run(&cl);
    int code = client_report(&cl, 0, "from when each request was sent");
    client_fini(&cl);
    return code;
}
