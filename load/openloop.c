/* openloop: requests at a fixed rate, whatever the server does.
 *
 * A client that waits for a reply before it sends the next request goes easy on a server that stalls: the
 * requests that would have come meanwhile are never sent, and never counted as slow. Here request number k is
 * due at start + k / rate, and its latency is counted from then, also when it had to wait for a free
 * connection.
 *
 * It loads the machine it runs on and no other.
 * Exit codes: 0 all replies were right, 1 there were errors or wrong replies, 2 usage, 3 no connection. */
#include "openloop_client.h"

#include <stdio.h>

static uint64_t errors(const openloop_tally *t)
{
    return t->refused + t->closed + t->protocol + t->timeout;
}

static double percentile_us(const openloop_client *cl, double percent)
{
    return (double)histogram_percentile(&cl->latency, percent) / 1e3;
}

static void report(const openloop_client *cl)
{
    const openloop_tally *t = &cl->tally;
    double elapsed_s = (double)(cl->last_reply_ns - cl->start_ns) / (double)NS_PER_S;
    double rate = elapsed_s > 0 ? (double)(t->ok + t->wrong) / elapsed_s : 0;
    const char *format =
        cl->opt.json
            ? "{\"target_rate\":%.1f,\"connections\":%u,\"sent\":%llu,\"ok\":%llu,\"wrong\":%llu,\"errors\":%"
              "llu,"
              "\"error_kinds\":{\"refused\":%llu,\"closed\":%llu,\"protocol\":%llu,\"timeout\":%llu},"
              "\"rate\":%.1f,\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%."
              "1f}}\n"
            : "rate wanted     %12.1f req/s over %u connections\n"
              "sent            %12llu\n"
              "ok              %12llu\n"
              "wrong           %12llu\n"
              "errors          %12llu   refused %llu, closed %llu, protocol %llu, timeout %llu\n"
              "rate achieved   %12.1f req/s\n"
              "latency p50     %12.1f us   from when each request was due\n"
              "        p90     %12.1f us\n"
              "        p99     %12.1f us\n"
              "        p99.9   %12.1f us\n"
              "        max     %12.1f us\n";
    typedef unsigned long long ull;
    printf(format, cl->opt.rate, cl->opt.connections, (ull)t->sent, (ull)t->ok, (ull)t->wrong, (ull)errors(t),
           (ull)t->refused, (ull)t->closed, (ull)t->protocol, (ull)t->timeout, rate, percentile_us(cl, 50),
           percentile_us(cl, 90), percentile_us(cl, 99), percentile_us(cl, 99.9),
           (double)cl->latency.max / 1e3);
}

int main(int argc, char **argv)
{
    static openloop_client cl;
    openloop_options_parse(&cl.opt, argc, argv);
    openloop_client_init(&cl);
    openloop_client_run(&cl);
    report(&cl);
    int code = cl.tally.wrong || errors(&cl.tally) ? 1 : 0;
    openloop_client_fini(&cl);
    return code;
}
