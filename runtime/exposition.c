#include "runtime/exposition.h"

#include <inttypes.h>
#include <math.h>

static const char *const bounds[HISTOGRAM_BUCKETS] = {
#define X(ns, text) text,
    HISTOGRAM_BOUNDS(X)
#undef X
        "+Inf",
};

int exposition_family(buf *out, const char *name, const char *type, const char *help)
{
    return buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int add_escaped(buf *out, str s)
{
    int err = buf_reserve(out, s.n * 2);
    for (size_t i = 0; err == 0 && i < s.n; i++) {
        char c = s.p[i];
        if (c == '\n')
            err = buf_add_str(out, STR("\\n"));
        else if (c == '"' || c == '\\')
            err = buf_add(out, (char[]){'\\', c}, 2);
        else
            err = buf_add(out, &c, 1);
    }
    return err;
}

static int add_label(buf *out, char before, const exposition_label *label)
{
    int err = buf_addf(out, "%c%s=\"", before, label->name);
    if (err == 0)
        err = add_escaped(out, label->value);
    return err ? err : buf_add_str(out, STR("\""));
}

/* The name, its ending, the labels, a last label `le` if it is not NULL, and the space before the value. */
static int add_head(buf *out, const char *name, const char *ending, const exposition_label *labels, size_t n,
                    const char *le)
{
    int err = buf_addf(out, "%s%s", name, ending);
    for (size_t i = 0; err == 0 && i < n; i++)
        err = add_label(out, i ? ',' : '{', &labels[i]);
    if (err == 0 && le)
        err = add_label(out, n ? ',' : '{', &(exposition_label){"le", str_from(le)});
    if (err)
        return err;
    return n || le ? buf_add_str(out, STR("} ")) : buf_add_str(out, STR(" "));
}

int exposition_count(buf *out, const char *name, const exposition_label *labels, size_t n, uint64_t value)
{
    int err = add_head(out, name, "", labels, n, NULL);
    return err ? err : buf_addf(out, "%" PRIu64 "\n", value);
}

int exposition_value(buf *out, const char *name, const exposition_label *labels, size_t n, double value)
{
    int err = add_head(out, name, "", labels, n, NULL);
    if (err)
        return err;
    if (isnan(value))
        return buf_add_str(out, STR("NaN\n"));
    if (isinf(value))
        return value > 0 ? buf_add_str(out, STR("+Inf\n")) : buf_add_str(out, STR("-Inf\n"));
    return buf_addf(out, "%.15g\n", value);
}

int exposition_histogram(buf *out, const char *name, const exposition_label *labels, size_t n,
                         const histogram_totals *h)
{
    uint64_t below = 0;
    int err = 0;
    for (size_t i = 0; err == 0 && i < HISTOGRAM_BUCKETS; i++) {
        below += h->counts[i];
        err = add_head(out, name, "_bucket", labels, n, bounds[i]);
        if (err == 0)
            err = buf_addf(out, "%" PRIu64 "\n", below);
    }
    if (err == 0)
        err = add_head(out, name, "_sum", labels, n, NULL);
    if (err == 0)
        err = buf_addf(out, "%" PRIu64 ".%09" PRIu64 "\n", h->sum_ns / 1000000000, h->sum_ns % 1000000000);
    if (err == 0)
        err = add_head(out, name, "_count", labels, n, NULL);
    return err ? err : buf_addf(out, "%" PRIu64 "\n", below);
}
