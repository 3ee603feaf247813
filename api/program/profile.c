#include "api/program/profile.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/context_costs.h"

enum { TIMEOUT_MS = 5000, FIELDS_MAX = 32 };

/* Costs that differ by less are not told apart: other machines and other values move them by more. */
static const double same = 0.05;

/* What is counted of one route, or of all. */
typedef struct usage {
    const char *route;
    double requests;
    double reads[FIELDS_MAX]; /* requests that read the field */
} usage;

typedef struct profile {
    const char *fields[FIELDS_MAX]; /* as the server names them */
    size_t field_count;
    usage *routes; /* by name, later by requests */
    size_t route_count;
    usage all;
} profile;

static int fail(ps_error *err, int code, const char *why)
{
    if (err) {
        err->code = code;
        snprintf(err->message, sizeof err->message, "%s", why);
    }
    return code;
}

/* --- counting --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const usage *)a)->route, ((const usage *)b)->route);
}

static int by_requests(const void *a, const void *b)
{
    double x = ((const usage *)a)->requests, y = ((const usage *)b)->requests;
    return x == y ? by_name(a, b) : (x < y) - (x > y);
}

/* A count that can be reckoned with. */
static double sane(double value)
{
    return value > 0 && value < 1e18 ? value : 0;
}

/* Requests of paths that no route has: no handler saw them. */
static bool has_handler(const scrape_sample *sample)
{
    const char *route = scrape_label_value(sample, "route");
    return route[0] != '\0' && strcmp(route, "none") != 0;
}

static bool counts_requests(const scrape_sample *sample)
{
    return scrape_is(sample, "poolsrv_http_requests_total") && has_handler(sample);
}

/* Sort by name and add up. */
static void merge(profile *p)
{
    size_t kept = 0;
    if (p->route_count)
        qsort(p->routes, p->route_count, sizeof *p->routes, by_name);
    for (size_t i = 0; i < p->route_count; i++) {
        if (kept && by_name(&p->routes[kept - 1], &p->routes[i]) == 0)
            p->routes[kept - 1].requests += p->routes[i].requests;
        else
            p->routes[kept++] = p->routes[i];
    }
    p->route_count = kept;
}

static int read_requests(profile *p, const scrape *s)
{
    size_t n = 0;
    for (size_t i = 0; i < scrape_count(s); i++)
        n += counts_requests(scrape_at(s, i));
    p->routes = calloc(n + 1, sizeof *p->routes);
    if (!p->routes)
        return PS_ENOMEM;
    for (size_t i = 0; i < scrape_count(s); i++) {
        const scrape_sample *sample = scrape_at(s, i);
        if (!counts_requests(sample))
            continue;
        usage *u = &p->routes[p->route_count++];
        u->route = scrape_label_value(sample, "route");
        u->requests = sane(sample->value);
        p->all.requests += u->requests;
    }
    merge(p);
    return 0;
}

/* The number of a field, given at its first sight; FIELDS_MAX when there are too many. */
static size_t field_number(profile *p, const char *name)
{
    size_t i = 0;
    while (i < p->field_count && strcmp(p->fields[i], name) != 0)
        i++;
    if (i == p->field_count && i < FIELDS_MAX)
        p->fields[p->field_count++] = name;
    return i;
}

static void read_field(profile *p, const scrape_sample *sample)
{
    usage key = {.route = scrape_label_value(sample, "route")};
    usage *u = p->route_count ? bsearch(&key, p->routes, p->route_count, sizeof key, by_name) : NULL;
    size_t field = u ? field_number(p, scrape_label_value(sample, "field")) : FIELDS_MAX;
    if (field == FIELDS_MAX)
        return;
    u->reads[field] += sane(sample->value);
    p->all.reads[field] += sane(sample->value);
}

static void read_fields(profile *p, const scrape *s)
{
    for (size_t i = 0; i < scrape_count(s); i++)
        if (scrape_is(scrape_at(s, i), "poolsrv_context_field_reads_total"))
            read_field(p, scrape_at(s, i));
}

/* --- reckoning --- */

/* How many of the requests read the field. A request can be counted between the two figures: at most all. */
static double share(const usage *u, size_t field)
{
    double of_all = u->requests > 0 ? u->reads[field] / u->requests : 0;
    return of_all < 1 ? of_all : 1;
}

/* ns a request. */
static double cost(const profile *p, const usage *u, size_t strategy)
{
    double ns = context_costs_base(strategy), added;
    for (size_t i = 0; i < p->field_count; i++)
        if (context_costs_field(strategy, p->fields[i], &added))
            ns += share(u, i) * added;
    return ns;
}

static size_t cheapest(const profile *p, const usage *u)
{
    size_t best = 0;
    for (size_t i = 1; context_costs_strategy(i); i++)
        if (cost(p, u, i) < cost(p, u, best))
            best = i;
    return best;
}

/* --- printing --- */

static void print_share(FILE *out, const char *field, double of_all)
{
    if (of_all < 0.001)
        fprintf(out, "  %s <0.1 %%", field);
    else
        fprintf(out, "  %s %.*f %%", field, of_all < 1 ? 1 : 0, of_all * 100);
}

static void print_reads(FILE *out, const profile *p, const usage *u)
{
    bool any = false;
    fputs("    reads ", out);
    for (size_t i = 0; i < p->field_count; i++) {
        if (u->reads[i] > 0) {
            print_share(out, p->fields[i], share(u, i));
            any = true;
        }
    }
    fputs(any ? "\n" : "  nothing\n", out);
}

static void print_costs(FILE *out, const profile *p, const usage *u)
{
    fputs("    costs ", out);
    for (size_t i = 0; context_costs_strategy(i); i++)
        fprintf(out, "  %s %.0f ns", context_costs_strategy(i), cost(p, u, i));
    fprintf(out, "\n    best    %s\n", context_costs_strategy(cheapest(p, u)));
}

static void print_usage(FILE *out, const profile *p, const usage *u)
{
    fprintf(out, "%s, %.0f requests\n", u->route, u->requests);
    print_reads(out, p, u);
    print_costs(out, p, u);
    fputc('\n', out);
}

/* With --context eager every request counts as having read what that strategy sets unasked. */
static bool looks_eager(const profile *p)
{
    int whole = 0;
    for (size_t i = 0; i < p->field_count; i++)
        if (strcmp(p->fields[i], "method") == 0 || strcmp(p->fields[i], "path") == 0)
            whole += share(&p->all, i) > 0.99;
    return whole == 2;
}

static void print_recommended(FILE *out, const profile *p)
{
    size_t best = cheapest(p, &p->all);
    double ns = cost(p, &p->all, best);
    fprintf(out, "Recommended for this traffic: --context %s\n", context_costs_strategy(best));
    for (size_t i = 0; context_costs_strategy(i); i++)
        if (i != best && cost(p, &p->all, i) <= ns * (1 + same))
            fprintf(out, "No worse, within 5 %%: --context %s\n", context_costs_strategy(i));
    fputc('\n', out);
}

static void print_conclusion(FILE *out, const profile *p)
{
    print_recommended(out, p);
    if (looks_eager(p))
        fputs("Method and path are read in all requests: if the server runs with --context eager, that is "
              "its own "
              "doing,\nand another strategy shows what the handlers read.\n\n",
              out);
    fprintf(
        out,
        "A cost is that of a context in the VM, in ns a request, beyond a handler without one. It is a sum "
        "of what\n"
        "each field adds by itself, read once, with values as large as they were when that was measured:\n"
        "    %s\n    %s\n"
        "An app with other values: run it again with --costs api/program/context_costs.def, and build.\n"
        "Shares are of all replies, also those that no handler saw (503). Fields of a handler's own on "
        "ctx\n"
        "are not counted.\n",
        context_costs_command, context_costs_machine);
}

static bool is_ours(const scrape *s)
{
    for (size_t i = 0; i < scrape_count(s); i++)
        if (strncmp(scrape_at(s, i)->name, "poolsrv_", 8) == 0)
            return true;
    return false;
}

static void print_report(FILE *out, profile *p)
{
    qsort(p->routes, p->route_count, sizeof *p->routes, by_requests);
    for (size_t i = 0; i < p->route_count; i++)
        print_usage(out, p, &p->routes[i]);
    p->all.route = "All routes";
    if (p->route_count > 1)
        print_usage(out, p, &p->all);
    print_conclusion(out, p);
}

int profile_print(FILE *out, const scrape *s, ps_error *err)
{
    profile p = {0};
    if (!is_ours(s))
        return fail(err, PS_ESYSTEM, "these are not the metrics of a poolsrv");
    int code = read_requests(&p, s);
    if (code < 0)
        return fail(err, code, ps_strerror(code));
    read_fields(&p, s);
    if (p.all.requests > 0)
        print_report(out, &p);
    else
        fputs("No route has answered a request yet.\n", out);
    free(p.routes);
    return 0;
}

/* --- the subcommand --- */

int profile_run(char **words, ps_error *err)
{
    scrape *s = NULL;
    if (!words[0] || words[1] || words[0][0] == '-')
        return fail(err, PS_EINVAL,
                    "profile wants the admin address of a running server: poolsrv profile HOST:PORT");
    int code = scrape_get(words[0], TIMEOUT_MS, &s, err);
    if (code == 0)
        code = profile_print(stdout, s, err);
    scrape_free(s);
    return code;
}
