#include "runtime/log_line.h"

#include <inttypes.h>
#include <time.h>

#include "runtime/escape.h"

/* What a line takes beside its strings: names, numbers, punctuation. */
enum { FRAME_BYTES = 512 };

/* Room for the whole line at once: no append below can fail after it, so none is looked at. */
static int reserve(buf *out, const log_record *r)
{
    const log_request *q = &r->request;
    size_t n = r->id.n + r->text.n + q->ip.n + q->method.n + q->target.n + q->route.n;
    return buf_reserve(out, FRAME_BYTES + n * ESCAPE_GROWTH);
}

/* RFC 3339 with milliseconds. */
static void add_time(buf *out, log_clock *clock, uint64_t time_ms)
{
    uint64_t second = time_ms / 1000;
    if (second != clock->second || !clock->text[0]) {
        time_t t = (time_t)second;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(clock->text, sizeof(clock->text), "%Y-%m-%dT%H:%M:%S", &tm);
        clock->second = second;
    }
    buf_addf(out, "%s.%03uZ", clock->text, (unsigned)(time_ms % 1000));
}

static void add_ms(buf *out, uint64_t ns)
{
    buf_addf(out, "%" PRIu64 ".%03" PRIu64, ns / 1000000, ns / 1000 % 1000);
}

/* --- text --- */

static str or_dash(str s)
{
    return s.n ? s : STR("-");
}

static void add_request_text(buf *out, const log_record *r)
{
    const log_request *q = &r->request;
    escape_quoted(out, or_dash(q->ip));
    buf_add_str(out, STR(" \""));
    escape_quoted(out, q->method);
    buf_add_str(out, STR(" "));
    escape_quoted(out, q->target);
    buf_addf(out, "%s HTTP/1.%u\" %d %" PRIu64 " ", r->cut_bytes ? "..." : "", q->version_minor, q->status,
             q->body_bytes);
    add_ms(out, q->duration_ns);
    buf_add_str(out, STR("ms "));
    escape_quoted(out, or_dash(q->route));
}

static void add_message_text(buf *out, const log_record *r)
{
    escape_text(out, r->text);
    if (r->cut_bytes)
        buf_addf(out, " ... (%zu bytes more)", r->cut_bytes);
}

int log_line_text(buf *out, log_clock *clock, const log_record *r)
{
    static const char *const words[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};
    int err = reserve(out, r);
    if (err)
        return err;
    add_time(out, clock, r->time_ms);
    buf_addf(out, " %s ", r->is_access ? "ACCESS" : words[r->level]);
    if (r->id.n) {
        buf_add_str(out, STR("["));
        escape_quoted(out, r->id);
        buf_add_str(out, STR("] "));
    }
    if (r->is_access)
        add_request_text(out, r);
    else
        add_message_text(out, r);
    return buf_add_str(out, STR("\n"));
}

/* --- JSON --- */

/* `opening` is all that stands before the value. */
static void add_string(buf *out, str opening, str value)
{
    buf_add_str(out, opening);
    escape_json(out, value);
    buf_add_str(out, STR("\""));
}

static void add_request_json(buf *out, const log_record *r)
{
    const log_request *q = &r->request;
    if (q->ip.n)
        add_string(out, STR(",\"ip\":\""), q->ip);
    add_string(out, STR(",\"method\":\""), q->method);
    add_string(out, STR(",\"target\":\""), q->target);
    if (q->route.n)
        add_string(out, STR(",\"route\":\""), q->route);
    buf_addf(out,
             ",\"version\":\"1.%u\",\"status\":%d,\"bytes\":%" PRIu64 ",\"duration_ms\":", q->version_minor,
             q->status, q->body_bytes);
    add_ms(out, q->duration_ns);
}

int log_line_json(buf *out, log_clock *clock, const log_record *r)
{
    static const char *const words[] = {
#define X(name, word) word,
        LOG_LEVELS(X)
#undef X
    };
    int err = reserve(out, r);
    if (err)
        return err;
    buf_add_str(out, STR("{\"time\":\""));
    add_time(out, clock, r->time_ms);
    buf_addf(out, "\",\"level\":\"%s\"", r->is_access ? "access" : words[r->level]);
    if (r->id.n)
        add_string(out, STR(",\"request_id\":\""), r->id);
    if (r->is_access)
        add_request_json(out, r);
    else
        add_string(out, STR(",\"message\":\""), r->text);
    if (r->cut_bytes)
        buf_addf(out, ",\"cut_bytes\":%zu", r->cut_bytes);
    return buf_add_str(out, STR("}\n"));
}
