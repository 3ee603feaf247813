/* /metrics of what runs beside requests: queues, their consumers, the clock. */
#include <errno.h>
#include <stdlib.h>

#include "api/server.h"
#include "runtime/exposition.h"

/* --- queues, as the engine last told --- */

static int add_messages(buf *out, const mq_stats *list, uint64_t n)
{
    const char *name = "poolsrv_queue_messages";
    int err = exposition_family(out, name, "gauge",
                                "Messages in a queue: that can be taken, that are due later, that a consumer "
                                "holds.");
    for (uint64_t i = 0; i < n && err == 0; i++) {
        exposition_label labels[] = {{"queue", str_from(list[i].name)}, {"state", STR("ready")}};
        err = exposition_count(out, name, labels, 2, list[i].ready);
        labels[1].value = STR("delayed");
        if (err == 0)
            err = exposition_count(out, name, labels, 2, list[i].delayed);
        labels[1].value = STR("taken");
        if (err == 0)
            err = exposition_count(out, name, labels, 2, list[i].taken);
    }
    return err;
}

static int add_oldest(buf *out, const mq_stats *list, uint64_t n)
{
    const char *name = "poolsrv_queue_oldest_seconds";
    int64_t now_ms = mq_now_ms();
    int err = exposition_family(
        out, name, "gauge", "How long the oldest message that can be taken has waited; 0: there is none.");
    for (uint64_t i = 0; i < n && err == 0; i++) {
        exposition_label label = {"queue", str_from(list[i].name)};
        int64_t since_ms = list[i].oldest_ms;
        err = exposition_value(out, name, &label, 1,
                               since_ms && since_ms < now_ms ? (double)(now_ms - since_ms) / 1000 : 0);
    }
    return err;
}

static int add_stats(jobs *j, buf *out)
{
    mq_stats *list = NULL;
    uint64_t n = 0;
    double age_s = 0;
    int err = queue_stats_get(&j->stats, &list, &n, &age_s);
    if (err)
        return err == -ENOENT ? 0 : err;
    err =
        metrics_gauge(out, "poolsrv_queue_stats_age_seconds",
                      "How old the figures of queues are; it grows while the engine does not answer.", age_s);
    if (err == 0)
        err = add_messages(out, list, n);
    if (err == 0)
        err = add_oldest(out, list, n);
    free(list);
    return err;
}

/* --- consumers --- */

static int add_outcomes(const duties *d, buf *out)
{
    const char *name = "poolsrv_queue_jobs_total";
    int err = exposition_family(out, name, "counter",
                                "Messages that this server has consumed, by what became of them.");
    for (size_t i = 0; i < d->consumer_count && err == 0; i++) {
        consumer_counts n = consumer_count(d->consumers[i]);
        const struct {
            str outcome;
            uint64_t n;
        } outcomes[] = {{STR("done"), n.done},
                        {STR("retried"), n.retried},
                        {STR("dead"), n.dead},
                        {STR("given_back"), n.given_back},
                        {STR("stale"), n.stale}};
        for (size_t k = 0; k < sizeof(outcomes) / sizeof(outcomes[0]) && err == 0; k++) {
            exposition_label labels[] = {{"queue", str_from(consumer_queue(d->consumers[i]))},
                                         {"outcome", outcomes[k].outcome}};
            err = exposition_count(out, name, labels, 2, outcomes[k].n);
        }
    }
    return err;
}

static int add_running(const duties *d, buf *out)
{
    const char *name = "poolsrv_queue_jobs_running";
    int err = exposition_family(out, name, "gauge", "Jobs of a consumer that are under way.");
    for (size_t i = 0; i < d->consumer_count && err == 0; i++) {
        exposition_label label = {"queue", str_from(consumer_queue(d->consumers[i]))};
        err = exposition_count(out, name, &label, 1, consumer_count(d->consumers[i]).running);
    }
    return err;
}

/* --- the clock, and what was spawned --- */

static int add_clock(const duties *d, buf *out)
{
    const char *name = "poolsrv_clock_runs_total";
    int err = exposition_family(
        out, name, "counter",
        "Moments of an entry of the clock: begun here, of these failed, left out as one was "
        "under way, run by another server.");
    for (size_t i = 0; i < d->clock_count && err == 0; i++) {
        schedule_counts n = schedule_count(d->clock[i]);
        const struct {
            str outcome;
            uint64_t n;
        } outcomes[] = {{STR("run"), n.runs},
                        {STR("failed"), n.failed},
                        {STR("skipped"), n.skipped},
                        {STR("elsewhere"), n.elsewhere}};
        for (size_t k = 0; k < sizeof(outcomes) / sizeof(outcomes[0]) && err == 0; k++) {
            exposition_label labels[] = {{"entry", str_from(schedule_name(d->clock[i]))},
                                         {"outcome", outcomes[k].outcome}};
            err = exposition_count(out, name, labels, 2, outcomes[k].n);
        }
    }
    return err;
}

int report_jobs(ps_server *srv, buf *out)
{
    jobs *j = &srv->jobs;
    const duties *d = jobs_duties(j);
    int err = add_stats(j, out);
    if (err == 0)
        err = add_outcomes(d, out);
    if (err == 0)
        err = add_running(d, out);
    if (err == 0)
        err = add_clock(d, out);
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_jobs_waiting", "Jobs that wait for a heavy thread.",
                            (double)ring_depth(srv->pool->jobs));
    return err ? err
               : metrics_gauge(out, "poolsrv_spawned", "Functions that were spawned and have not ended.",
                               atomic_load_explicit(&j->spawned, memory_order_relaxed));
}
