#include "api/program/top_plain.h"

#include <math.h>
#include <time.h>

#include "api/program/top_text.h"

static void put_figure(FILE *out, double n, int digits)
{
    if (isnan(n))
        fputs(" -", out);
    else
        fprintf(out, " %.*f", digits, n);
}

static void put_rate(FILE *out, double a_second)
{
    put_figure(out, a_second, 2);
}

static void put_count(FILE *out, double n)
{
    put_figure(out, n, 0);
}

/* In milliseconds; one that is beyond all bounds is told as the last bound, so that it stays a number. */
static void put_latency(FILE *out, top_latency t)
{
    put_figure(out, t.seconds * 1000, 3);
}

static void put_rates(FILE *out, const top_rates *rates)
{
    put_rate(out, rates->requests);
    put_rate(out, rates->refused);
    put_rate(out, rates->failed);
    put_latency(out, rates->p50);
    put_latency(out, rates->p99);
}

static void put_word(FILE *out, const char *word)
{
    fputc(' ', out);
    top_text_word(out, word ? word : "");
}

static void put_time(FILE *out, double wall_s)
{
    char text[32];
    struct tm utc;
    time_t seconds = (time_t)wall_s;
    if (!gmtime_r(&seconds, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        text[0] = '\0';
    put_word(out, text);
}

static void put_server(FILE *out, const top_model *m, double wall_s)
{
    static const char *const states[] = {"running", "draining", "unreachable"};
    const top_shot *s = m->now;
    fputs("#server TIME STATE REQ/S 4XX/S 5XX/S P50_MS P99_MS CONNECTIONS WAITING WAIT_MS BUSY RUNNING MAX "
          "VM_BYTES\n"
          "server",
          out);
    put_time(out, wall_s);
    put_word(out, states[top_model_state(m)]);
    put_rates(out, &m->total);
    put_count(out, s->connections);
    put_count(out, s->heavy_waiting);
    put_latency(out, (top_latency){s->heavy_wait_s, false});
    put_count(out, s->heavy_busy);
    put_count(out, s->heavy_running);
    put_count(out, s->heavy_max);
    put_count(out, s->vm_bytes);
    fputc('\n', out);
}

static void put_worker(FILE *out, const top_worker_row *row)
{
    const top_worker *w = row->worker;
    fputs("worker", out);
    put_word(out, w->name);
    put_rate(out, row->requests);
    put_count(out, w->connections);
    put_count(out, w->home);
    put_count(out, w->shared);
    put_count(out, w->done);
    put_count(out, w->vm_bytes);
    fputc('\n', out);
}

static void put_route(FILE *out, const top_row *row)
{
    fputs("route", out);
    put_rates(out, &row->rates);
    put_word(out, row->route->lane);
    put_count(out, row->route->since_s);
    put_word(out, row->route->why);
    put_word(out, row->route->method);
    put_word(out, row->route->pattern);
    fputc('\n', out);
}

void top_plain_write(FILE *out, const top_model *m, double wall_s)
{
    put_server(out, m, wall_s);
    if (top_model_state(m) != TOP_UNREACHABLE) {
        fputs("#worker NUMBER REQ/S CONNECTIONS HOME SHARED DONE VM_BYTES\n", out);
        for (size_t i = 0; i < m->worker_count; i++)
            put_worker(out, &m->workers[i]);
        fputs("#route REQ/S 4XX/S 5XX/S P50_MS P99_MS LANE SINCE_S WHY METHOD PATH\n", out);
        for (size_t i = 0; i < m->row_count; i++)
            put_route(out, &m->rows[i]);
    }
    fputc('\n', out);
}
