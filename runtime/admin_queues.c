#include "runtime/admin_queues.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "runtime/canned.h"
#include "runtime/escape.h"

enum { PEEK_USUAL = 10, REPLY_BYTES_MAX = 16 << 20, MS_PER_S = 1000 };

/* --- reading --- */

static const str root = {"/queues", 7};

bool admin_queues_is_path(str path)
{
    return path.n >= root.n && memcmp(path.p, root.p, root.n) == 0 &&
           (path.n == root.n || path.p[root.n] == '/');
}

/* The raw value of a parameter of the query. Returns: whether it is there. */
static bool parameter(str query, str name, str *ret_value)
{
    const char *end = query.p + query.n;
    for (const char *p = query.p; p && p < end; p++) {
        const char *stop = memchr(p, '&', (size_t)(end - p));
        stop = stop ? stop : end;
        if ((size_t)(stop - p) > name.n && memcmp(p, name.p, name.n) == 0 && p[name.n] == '=') {
            *ret_value = (str){p + name.n + 1, (size_t)(stop - p) - name.n - 1};
            return true;
        }
        p = stop;
    }
    return false;
}

static bool read_most(str query, unsigned *ret_most)
{
    str text;
    unsigned n = 0;
    *ret_most = PEEK_USUAL;
    if (!parameter(query, STR("n"), &text))
        return true;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > MQ_TAKE_MAX)
            return false;
        n = n * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret_most = n;
    return n >= 1 && n <= MQ_TAKE_MAX;
}

static bool read_id(str query, char id[static MQ_ID_BYTES])
{
    char text[3 * MQ_ID_BYTES];
    str raw;
    *id = '\0';
    if (!parameter(query, STR("id"), &raw))
        return true;
    if (raw.n >= sizeof(text))
        return false;
    str value = {text, percent_query_decode(raw, text)};
    if (!mq_id_is_good(value))
        return false;
    memcpy(id, value.p, value.n);
    id[value.n] = '\0';
    return true;
}

/* Cut "/queues/NAME/ACTION": either may be empty. */
static void split(str path, str *ret_name, str *ret_action)
{
    str rest = path.n > root.n ? (str){path.p + root.n + 1, path.n - root.n - 1} : (str){0};
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    *ret_name = slash ? (str){rest.p, (size_t)(slash - rest.p)} : rest;
    *ret_action = slash ? (str){slash + 1, rest.n - ret_name->n - 1} : (str){0};
}

/* What the path asks for. Returns: whether there is such a page. */
static bool verb_of(str path, mq_verb *ret_verb, str *ret_name)
{
    str action;
    split(path, ret_name, &action);
    if (path.n == root.n) {
        *ret_verb = MQ_STATS;
        return true;
    }
    if (!mq_name_is_good(*ret_name))
        return false;
    *ret_verb = str_eq(action, STR("retry")) ? MQ_REVIVE : str_eq(action, STR("purge")) ? MQ_PURGE : MQ_PEEK;
    return *ret_verb != MQ_PEEK || path.n == root.n + 1 + ret_name->n;
}

static bool is_change(mq_verb verb)
{
    return verb == MQ_REVIVE || verb == MQ_PURGE;
}

/* Returns: whether the method suits; if not, the task has its reply. */
static bool check_method(HttpTask *t, mq_verb verb)
{
    bool is_read = t->method_id == METHOD_GET || t->method_id == METHOD_HEAD;
    if (is_change(verb) ? t->method_id == METHOD_POST : is_read)
        return true;
    canned_error(t, 405, "Method not allowed");
    canned_header(t, "Allow", is_change(verb) ? "POST" : "GET, HEAD");
    return false;
}

static bool check_sender(HttpTask *t, mq_verb verb)
{
    if (!is_change(verb) ||
        (task_header_find(t, STR("X-Poolsrv")).p && !task_header_find(t, STR("Origin")).p))
        return true;
    canned_error(t, 403, "Such a request needs the header X-Poolsrv: 1, and is refused to web pages");
    return false;
}

static bool check_query(HttpTask *t, queue_question *q)
{
    if (q->op.verb == MQ_PEEK && !read_most(t->query, &q->op.most))
        canned_error(t, 400, "n: a number from 1 to 1024 is wanted");
    else if (q->op.verb == MQ_REVIVE && !read_id(t->query, q->id))
        canned_error(t, 400, "id: that is no id of a message");
    else
        return true;
    return false;
}

queue_question *admin_queues_read(HttpTask *t)
{
    mq_verb verb;
    str name;
    if (!verb_of(t->path, &verb, &name)) {
        canned_error(t, 404, "Not found");
        return NULL;
    }
    if (!check_method(t, verb) || !check_sender(t, verb))
        return NULL;
    queue_question *q = calloc(1, sizeof(*q));
    if (!q) {
        canned_error(t, 500, "Out of memory");
        return NULL;
    }
    q->op = (mq_op){.verb = verb, .queue = q->queue, .id = q->id};
    memcpy(q->queue, name.p ? name.p : "", name.n);
    if (check_query(t, q))
        return q;
    free(q);
    return NULL;
}

void admin_queues_free(later *l)
{
    queue_question *q = (queue_question *)l;
    if (q->op.verb == MQ_PEEK)
        mq_message_free(q->op.messages);
    free(q->op.stats);
    free(q);
}

/* --- the list of queues --- */

typedef struct listing {
    buf *out;
    const queue_question *question;
    consumers_each *consumers;
    void *user;
    const char *name; /* of the queue whose consumer is wanted */
    bool found;       /* it has one */
    bool more;        /* something is in the list already */
    int err;
} listing;

static void add_counts(buf *out, const consumer *c, int *err)
{
    consumer_counts n = consumer_count(c);
    if (*err == 0)
        *err = buf_addf(out,
                        "{\"running\":%u,\"done\":%llu,\"retried\":%llu,\"dead\":%llu,\"given_back\":%llu,"
                        "\"stale\":%llu}",
                        n.running, (unsigned long long)n.done, (unsigned long long)n.retried,
                        (unsigned long long)n.dead, (unsigned long long)n.given_back,
                        (unsigned long long)n.stale);
}

static void add_if_its(void *to, const consumer *c)
{
    listing *l = to;
    if (l->found || strcmp(consumer_queue(c), l->name) != 0)
        return;
    l->found = true;
    add_counts(l->out, c, &l->err);
}

/* Names are fit to stand in JSON as they are. */
static void add_queue(listing *l, const mq_stats *s)
{
    int64_t now_ms = mq_now_ms();
    int64_t age_ms = s->oldest_ms && s->oldest_ms < now_ms ? now_ms - s->oldest_ms : 0;
    l->name = s->name;
    l->found = false;
    if (l->err == 0)
        l->err =
            buf_addf(l->out,
                     "%s{\"queue\":\"%s\",\"ready\":%llu,\"delayed\":%llu,\"taken\":%llu,"
                     "\"oldest\":%.3f,\"consumer\":",
                     l->more ? "," : "", s->name, (unsigned long long)s->ready,
                     (unsigned long long)s->delayed, (unsigned long long)s->taken, (double)age_ms / MS_PER_S);
    l->consumers(l->user, add_if_its, l);
    if (l->err == 0)
        l->err = buf_addf(l->out, "%s}", l->found ? "" : "null");
    l->more = true;
}

/* One that has nothing in it may be unknown to the engine, but is shown if it is consumed. */
static void add_if_empty(void *to, const consumer *c)
{
    listing *l = to;
    mq_stats none = {0};
    for (uint64_t i = 0; i < l->question->op.count; i++)
        if (strcmp(l->question->op.stats[i].name, consumer_queue(c)) == 0)
            return;
    snprintf(none.name, sizeof(none.name), "%s", consumer_queue(c));
    add_queue(l, &none);
}

static void no_consumers(void *user, void (*each)(void *to, const consumer *c), void *to)
{
    (void)user;
    (void)each;
    (void)to;
}

static int add_list(const queue_question *q, consumers_each *consumers, void *user, buf *out)
{
    listing l = {.out = out, .question = q, .consumers = consumers, .user = user};
    l.err = buf_add_str(out, STR("["));
    for (uint64_t i = 0; i < q->op.count; i++)
        add_queue(&l, &q->op.stats[i]);
    consumers(user, add_if_empty, &l);
    return l.err ? l.err : buf_add_str(out, STR("]\n"));
}

/* --- messages --- */

static int add_text(buf *out, const char *field, const char *text)
{
    if (!text || !*text)
        return 0;
    int err = buf_addf(out, ",\"%s\":\"", field);
    if (err == 0)
        err = escape_json(out, str_from(text));
    return err ? err : buf_add_str(out, STR("\""));
}

static const char *state_of(const mq_message *m, int64_t now_ms)
{
    return m->taken ? "taken" : m->due_ms > now_ms ? "delayed" : "ready";
}

static int add_message(buf *out, const mq_message *m, int64_t now_ms)
{
    int err = buf_addf(out,
                       "{\"state\":\"%s\",\"attempts\":%u,\"priority\":%d,\"enqueued_at\":%.3f,"
                       "\"due_at\":%.3f",
                       state_of(m, now_ms), m->attempt, m->priority, (double)m->pushed_ms / MS_PER_S,
                       (double)m->due_ms / MS_PER_S);
    if (err == 0 && m->progress >= 0)
        err = buf_addf(out, ",\"progress\":%.17g", m->progress);
    if (err == 0)
        err = add_text(out, "id", m->id);
    if (err == 0)
        err = add_text(out, "from", m->from);
    if (err == 0)
        err = add_text(out, "error", m->note);
    if (err == 0)
        err = buf_add_str(out, STR(",\"body\":"));
    if (err == 0)
        err = buf_add_str(out, m->body.n ? m->body : STR("null"));
    return err ? err : buf_add_str(out, STR("}"));
}

/* Those behind the most bytes that a reply may have are left out: who asks for fewer sees them. */
static int add_messages(const queue_question *q, buf *out)
{
    int64_t now_ms = mq_now_ms();
    int err = buf_add_str(out, STR("["));
    for (const mq_message *m = q->op.messages; m && err == 0 && out->n < REPLY_BYTES_MAX; m = m->next) {
        if (m != q->op.messages)
            err = buf_add_str(out, STR(","));
        if (err == 0)
            err = add_message(out, m, now_ms);
    }
    return err ? err : buf_add_str(out, STR("]\n"));
}

/* --- replies --- */

static void answer_trouble(const mq_op *op, HttpTask *t)
{
    bool is_away = op->err == -ETIMEDOUT || op->err == -ENOTCONN || op->err == -ESHUTDOWN;
    int status = is_away ? 503 : 500;
    str id = task_id(t);
    canned_empty(t, status);
    if (buf_add_str(&t->body, STR("{\"error\":\"")) == 0 && escape_json(&t->body, str_from(op->error)) == 0 &&
        buf_addf(&t->body, "\",\"status\":%d,\"request_id\":\"%.*s\"}", status, (int)id.n, id.p) == 0)
        t->content_type = "application/json";
    else
        canned_empty(t, status);
}

static void find_consumer(void *to, const consumer *c)
{
    listing *l = to;
    l->found |= strcmp(consumer_queue(c), l->name) == 0;
}

static bool is_consumed(const char *queue, consumers_each *consumers, void *user)
{
    listing l = {.name = queue};
    consumers(user, find_consumer, &l);
    return l.found;
}

static int add_reply(const queue_question *q, consumers_each *consumers, void *user, buf *out)
{
    switch (q->op.verb) {
    case MQ_STATS:
        return add_list(q, consumers, user, out);
    case MQ_PEEK:
        return add_messages(q, out);
    default:
        return buf_addf(out, "{\"count\":%llu}\n", (unsigned long long)q->op.count);
    }
}

void admin_queues_answer(const queue_question *q, consumers_each *consumers, void *user, HttpTask *t)
{
    consumers = consumers ? consumers : no_consumers;
    if (q->op.err) {
        answer_trouble(&q->op, t);
        return;
    }
    if (q->op.verb == MQ_PEEK && !q->op.messages && !is_consumed(q->queue, consumers, user)) {
        canned_error(t, 404, "No such queue: nothing is in it, and this server does not consume it");
        return;
    }
    canned_empty(t, 200);
    if (add_reply(q, consumers, user, &t->body) == 0)
        t->content_type = "application/json";
    else
        canned_error(t, 500, "Out of memory");
}

void admin_queues_give_up(HttpTask *t)
{
    canned_error(t, 504, "The queues do not answer in time: whether it was done is not known");
}
