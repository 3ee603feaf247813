#include "api/program/top_table.h"

#include <stdio.h>

#include "api/program/top_text.h"

/* --- routes: how wide --- */

/* A figure's column. */
typedef struct column {
    const char *title;
    int sort; /* a top_sort, or -1 */
    unsigned width;
    unsigned leaves; /* when columns must go for the route to be read: 1 goes first; 0 never */
    void (*text)(char cell[TOP_CELL_BYTES], const top_row *row);
} column;

static void text_requests(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_rate(cell, row->rates.requests);
}

static void text_refused(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_rate(cell, row->rates.refused);
}

static void text_failed(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_rate(cell, row->rates.failed);
}

static void text_p50(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_latency(cell, row->rates.p50);
}

static void text_p99(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_latency(cell, row->rates.p99);
}

static void text_lane(char cell[TOP_CELL_BYTES], const top_row *row)
{
    snprintf(cell, TOP_CELL_BYTES, "%.20s", row->route->lane ? row->route->lane : "-");
}

static void text_since(char cell[TOP_CELL_BYTES], const top_row *row)
{
    top_text_age(cell, row->route->since_s);
}

static const column columns[] = {
    {"REQ/S", TOP_BY_REQUESTS, 7, 0, text_requests},
    {"4XX/S", -1, 6, 1, text_refused},
    {"5XX/S", TOP_BY_ERRORS, 6, 4, text_failed},
    {"P50", -1, 7, 3, text_p50},
    {"P99", TOP_BY_P99, 7, 6, text_p99},
    {"LANE", TOP_BY_LANE, 5, 5, text_lane},
    {"SINCE", -1, 6, 2, text_since},
};

enum { COLUMNS = sizeof columns / sizeof *columns, LEAVINGS = 6, ROUTE_LEAST = 20, WHY_LEAST = 6 };

/* How wide things are on this page. */
typedef struct layout {
    bool shown[COLUMNS];
    size_t route, why; /* why: 0 when there is no room for it */
} layout;

static void name_route(const top_route *r, char *name, size_t size)
{
    if (*r->method)
        snprintf(name, size, "%s %s", r->method, r->pattern);
    else
        snprintf(name, size, "(no such route)");
}

enum { NAME_BYTES = 1024 };

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Columns that the figures take, each with the blank behind it, when the first `left` have gone. */
static size_t choose_columns(layout *l, unsigned left)
{
    size_t taken = 0;
    for (size_t i = 0; i < COLUMNS; i++) {
        l->shown[i] = columns[i].leaves == 0 || columns[i].leaves > left;
        taken += l->shown[i] ? columns[i].width + 1 : 0;
    }
    return taken;
}

static layout lay_out(const top_model *m, size_t width)
{
    layout l = {0};
    size_t longest_route = 5, longest_why = 0, taken;
    unsigned left = 0;
    for (size_t i = 0; i < m->row_count; i++) {
        char name[NAME_BYTES];
        name_route(m->rows[i].route, name, sizeof name);
        longest_route = larger(longest_route, top_text_width(name));
        longest_why = larger(longest_why, m->rows[i].route->why ? top_text_width(m->rows[i].route->why) : 0);
    }
    while ((taken = choose_columns(&l, left)) + smaller(longest_route, ROUTE_LEAST) > width &&
           left < LEAVINGS)
        left++;
    size_t room = width > taken ? width - taken : 0;
    size_t with_why = longest_why ? longest_why + 1 : 0, beside_why = room > with_why ? room - with_why : 0;
    l.route = smaller(smaller(longest_route, larger(beside_why, ROUTE_LEAST)), room);
    size_t behind = room > l.route ? room - l.route - 1 : 0;
    l.why = longest_why && behind >= smaller(longest_why, WHY_LEAST) ? behind : 0;
    return l;
}

/* --- routes: what --- */

/* The column that the rows are sorted by stands out. */
static void put_title_cell(top_page *p, const top_model *m, const char *title, int sort, size_t width,
                           bool left)
{
    char cell[TOP_CELL_BYTES];
    bool sorted = sort == (int)m->sort;
    snprintf(cell, sizeof cell, "%s%s", sorted ? m->reverse ? "^" : "*" : "", title);
    size_t from = p->column;
    if (left)
        top_page_left(p, cell, width);
    else
        top_page_right(p, cell, width);
    if (sorted)
        top_page_mark(p, from);
}

static void put_route_titles(top_page *p, const top_model *m, const layout *l)
{
    top_page_open(p, TOP_HEAD);
    for (size_t i = 0; i < COLUMNS; i++) {
        if (!l->shown[i])
            continue;
        put_title_cell(p, m, columns[i].title, columns[i].sort, columns[i].width, false);
        top_page_blanks(p, 1);
    }
    put_title_cell(p, m, "ROUTE", TOP_BY_NAME, l->route, true);
    if (l->why)
        top_page_put(p, " WHY");
    top_page_blanks(p, top_page_columns_left(p));
    top_page_close(p);
}

static top_style row_style(const top_row *row)
{
    if (row->rates.failed > 0)
        return TOP_STRONG;
    return row->rates.requests == 0 ? TOP_DIM : TOP_PLAIN;
}

static void put_route(top_page *p, const top_row *row, const layout *l)
{
    char cell[TOP_CELL_BYTES], name[NAME_BYTES];
    top_page_open(p, row_style(row));
    for (size_t i = 0; i < COLUMNS; i++) {
        if (!l->shown[i])
            continue;
        columns[i].text(cell, row);
        top_page_right(p, cell, columns[i].width);
        top_page_blanks(p, 1);
    }
    name_route(row->route, name, sizeof name);
    top_page_left(p, name, l->route);
    if (l->why && row->route->why) {
        top_page_blanks(p, 1);
        top_page_put(p, row->route->why);
    }
    top_page_close(p);
}

/* --- workers --- */

static void put_worker(top_page *p, const top_worker_row *row)
{
    char cell[TOP_CELL_BYTES];
    const top_worker *w = row->worker;
    top_page_open(p, row->requests == 0 ? TOP_DIM : TOP_PLAIN);
    top_page_right(p, w->name, 6);
    top_page_right(p, top_text_rate(cell, row->requests), 9);
    top_page_right(p, top_text_count(cell, w->connections), 8);
    top_page_right(p, top_text_count(cell, w->home), 7);
    top_page_right(p, top_text_count(cell, w->shared), 7);
    top_page_right(p, top_text_count(cell, w->done), 7);
    top_page_right(p, top_text_bytes(cell, w->vm_bytes), 10);
    top_page_close(p);
}

static void put_routes(top_page *p, const top_model *m, size_t from, size_t end)
{
    layout l = lay_out(m, p->width);
    put_route_titles(p, m, &l);
    for (size_t i = from; i < end; i++)
        put_route(p, &m->rows[i], &l);
}

static void put_workers(top_page *p, const top_model *m, size_t from, size_t end)
{
    top_page_line(p, TOP_HEAD, "WORKER    REQ/S   CONNS   HOME SHARED   DONE        VM");
    for (size_t i = from; i < end; i++)
        put_worker(p, &m->workers[i]);
}

/* --- either --- */

size_t top_table_rows(const top_model *m, top_table which)
{
    return which == TOP_ROUTES ? m->row_count : m->worker_count;
}

void top_table_write(top_page *p, const top_model *m, top_table which, size_t from, size_t shown)
{
    size_t end = smaller(top_table_rows(m, which), from + shown);
    if (which == TOP_ROUTES)
        put_routes(p, m, from, end);
    else
        put_workers(p, m, from, end);
}
