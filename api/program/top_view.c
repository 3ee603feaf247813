#include "api/program/top_view.h"

#include <math.h>
#include <stdio.h>

#include "api/program/top_text.h"

enum { USUAL_WIDTH = 80 };

/* --- above the table --- */

static const char *state_word(const top_model *m)
{
    switch (top_model_state(m)) {
    case TOP_UNREACHABLE:
        return "unreachable";
    case TOP_DRAINING:
        return "draining";
    default:
        return m->now && m->now->ready == 1 ? "ready" : "running";
    }
}

static double seconds_since(const top_look *look, uint64_t then_ns)
{
    return look->now_ns > then_ns ? (double)(look->now_ns - then_ns) / 1e9 : 0;
}

static void put_title(top_page *p, const top_model *m, const top_look *look)
{
    char age[TOP_CELL_BYTES];
    top_page_open(p, TOP_STRONG);
    top_page_put(p, "poolsrv top   ");
    top_page_put(p, look->address);
    top_page_put(p, "   ");
    top_page_put(p, state_word(m));
    if (m->now && !isnan(m->now->started_s) && !m->lost_ns) {
        top_page_put(p, "   up ");
        top_page_put(p, top_text_age(age, look->wall_s - m->now->started_s));
    }
    top_page_put(p, "   watched ");
    top_page_put(p, top_text_age(age, seconds_since(look, m->began_ns)));
    top_page_close(p);
}

/* A line that cannot be overlooked, when there is something to say. */
static void put_trouble(top_page *p, const top_model *m, const top_look *look)
{
    char age[TOP_CELL_BYTES], last[TOP_CELL_BYTES];
    if (top_model_state(m) == TOP_UNREACHABLE) {
        top_page_open(p, TOP_ALARM);
        top_page_put(p, "no answer for ");
        top_page_put(p, top_text_age(age, seconds_since(look, m->lost_ns)));
        top_page_put(p, ", asking again: ");
        top_page_put(p, m->trouble);
        top_page_close(p);
        if (m->answered_ns) {
            top_page_open(p, TOP_DIM);
            top_page_put(p, "all figures are from ");
            top_page_put(p, top_text_age(last, seconds_since(look, m->answered_ns)));
            top_page_put(p, " ago");
            top_page_close(p);
        }
    } else if (top_model_state(m) == TOP_DRAINING) {
        top_page_line(p, TOP_ALARM, "it stops: running requests are finished, new connections are refused");
    }
}

static void put_rates(top_page *p, const top_model *m)
{
    char cell[TOP_CELL_BYTES];
    top_page_item(p, false, "%s req/s", top_text_rate(cell, m->total.requests));
    top_page_item(p, false, "4xx %s/s", top_text_rate(cell, m->total.refused));
    top_page_item(p, m->total.failed > 0, "5xx %s/s", top_text_rate(cell, m->total.failed));
    top_page_item(p, false, "p50 %s", top_text_latency(cell, m->total.p50));
    top_page_item(p, false, "p99 %s", top_text_latency(cell, m->total.p99));
}

static void put_heavy(top_page *p, const top_shot *s)
{
    char busy[TOP_CELL_BYTES], running[TOP_CELL_BYTES], max[TOP_CELL_BYTES];
    bool full = s->heavy_waiting > 0 && s->heavy_busy >= s->heavy_max;
    top_page_item(p, full, "%s waiting for heavy", top_text_count(busy, s->heavy_waiting));
    if (s->heavy_wait_s > 0)
        top_page_item(p, full, "for about %s", top_text_latency(busy, (top_latency){s->heavy_wait_s, false}));
    if (!isnan(s->heavy_busy) || !isnan(s->heavy_running))
        top_page_item(p, full, "heavy %s of %s busy, at most %s", top_text_count(busy, s->heavy_busy),
                      top_text_count(running, s->heavy_running), top_text_count(max, s->heavy_max));
}

static void put_rings(top_page *p, const top_shot *s)
{
    char home[TOP_CELL_BYTES], shared[TOP_CELL_BYTES], done[TOP_CELL_BYTES];
    top_worker sum = {0};
    for (size_t i = 0; i < s->worker_count; i++) {
        sum.home += s->workers[i].home;
        sum.shared += s->workers[i].shared;
        sum.done += s->workers[i].done;
    }
    top_page_item(p, false, "rings: home %s, shared %s, done %s", top_text_count(home, sum.home),
                  top_text_count(shared, sum.shared), top_text_count(done, sum.done));
}

/* Where there is room, a line begins with the same figure whatever the others are, so that nothing jumps from
 * page to page. */
static void part(top_page *p)
{
    if (p->width < USUAL_WIDTH)
        return;
    top_page_close(p);
    top_page_open(p, TOP_PLAIN);
}

static void put_figures(top_page *p, const top_model *m)
{
    char cell[TOP_CELL_BYTES];
    top_page_open(p, TOP_PLAIN);
    put_rates(p, m);
    if (m->now) {
        part(p);
        put_heavy(p, m->now);
        top_page_item(p, false, "VMs hold %s", top_text_bytes(cell, m->now->vm_bytes));
        part(p);
        put_rings(p, m->now);
        top_page_item(p, false, "connections %s", top_text_count(cell, m->now->connections));
    }
    top_page_close(p);
}

/* Of a short page it takes a third: the table goes before. */
static void put_header(top_page *p, const top_model *m, const top_look *look)
{
    size_t room = p->room, third = room / 3 > 2 ? room / 3 : 2;
    put_title(p, m, look);
    put_trouble(p, m, look);
    p->room = third < room ? third : room;
    if (p->count < p->room)
        put_figures(p, m);
    p->room = room;
}

/* --- the page --- */

static void put_keys(top_page *p, const top_look *look, size_t rows)
{
    char range[96] = "";
    size_t to = look->scroll + look->fit < rows ? look->scroll + look->fit : rows;
    if (to - look->scroll < rows)
        snprintf(range, sizeof range, "%zu-%zu of %zu   ", look->scroll + 1, to, rows);
    while (top_page_lines_left(p) > 1)
        top_page_line(p, TOP_PLAIN, "");
    top_page_open(p, TOP_DIM);
    top_page_put(p, range);
    top_page_put(p, look->table == TOP_ROUTES ? "q quit  r p e l n sort  R reverse  w workers  ? help"
                                              : "q quit  w routes  ? help");
    top_page_close(p);
}

static void put_help(top_page *p)
{
    static const struct {
        const char *key, *does;
    } lines[] = {
#define X(name, key, word, first) {key, "sort by " word ": " first},
        TOP_SORT_MAP(X)
#undef X
            {"R", "reverse the order"},
        {"w", "the workers, or the routes again"},
        {"up down", "scroll; also page up, page down, home, end"},
        {"q", "quit"},
        {"", ""},
        {"P50 P99", "half of the requests took no longer, and all but one in a hundred"},
        {"LANE", "light: on the threads that hold the sockets; heavy: on others"},
        {"SINCE", "for how long it has been in its lane; WHY says for what"},
        {"HOME", "requests to be run by the worker itself; SHARED: by a heavy thread"},
        {"DONE", "finished by a heavy thread, not yet answered"},
    };
    top_page_line(p, TOP_HEAD, "poolsrv top: any key goes back");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        top_page_open(p, TOP_PLAIN);
        top_page_left(p, lines[i].key, 9);
        top_page_put(p, lines[i].does);
        top_page_close(p);
    }
}

static void put_all(top_page *p, const top_model *m, top_look *look)
{
    size_t rows = top_table_rows(m, look->table);
    put_header(p, m, look);
    size_t left = top_page_lines_left(p); /* the titles and the keys have one line each */
    look->fit = left > 2 ? left - 2 : 0;
    size_t most = rows > look->fit ? rows - look->fit : 0;
    look->scroll = look->scroll < most ? look->scroll : most;
    if (left > 1)
        top_table_write(p, m, look->table, look->scroll, look->fit);
    put_keys(p, look, rows);
}

int top_view_page(const top_model *m, top_look *look, top_page *ret_page)
{
    top_page page;
    top_page_init(&page, look->width, look->height);
    if (look->help)
        put_help(&page);
    else
        put_all(&page, m, look);
    if (page.failed) {
        top_page_fini(&page);
        return PS_ENOMEM;
    }
    *ret_page = page;
    return 0;
}
