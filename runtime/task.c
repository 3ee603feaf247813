#include "runtime/task.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "runtime/request_id.h"

#define TO(state) (1u << TASK_##state)

/* From each state, the states it may go to. */
static const unsigned steps[TASK_STATE_COUNT] = {
    [TASK_FREE] = TO(FILLING),
    [TASK_FILLING] = TO(QUEUED) | TO(DONE) | TO(CANCELLED) | TO(FREE),
    [TASK_QUEUED] = TO(RUNNING) | TO(DONE) | TO(CANCELLED),
    [TASK_RUNNING] = TO(PARKED) | TO(DONE) | TO(LOST),
    [TASK_PARKED] = TO(RUNNING) | TO(DONE) | TO(LOST) | TO(CANCELLED),
    [TASK_DONE] = TO(SENT) | TO(CANCELLED),
    [TASK_SENT] = TO(FREE),
    [TASK_LOST] = TO(CANCELLED),
    [TASK_CANCELLED] = TO(FREE),
};

bool task_may_move(task_state from, task_state to)
{
    return steps[from] & (1u << to);
}

void task_move(HttpTask *t, task_state to)
{
    assert(task_may_move(t->state, to));
    t->state = to;
}

const char *task_state_name(task_state state)
{
    static const char *const names[] = {
#define X(name) #name,
        TASK_STATES(X)
#undef X
    };
    return names[state];
}

void task_begin(HttpTask *t, void *owner)
{
    /* Field by field, and not the arrays at the end: this runs for every request. */
    t->state = TASK_FREE;
    task_move(t, TASK_FILLING);
    t->suspended = t->judged = t->heavy = t->close = t->dropped = false;
    t->version_minor = 1;
    t->owner = owner;
    t->connection = t->response = NULL;
    t->peer = NULL;
    t->ip = NULL;
    t->scheme = NULL;
    t->host = (str){0};
    t->method_id = -1;
    t->method = t->target = t->path = t->query = t->id = (str){0};
    t->headers = t->inline_headers;
    t->header_count = 0;
    t->header_room = TASK_INLINE_HEADERS;
    t->request_body = (buf){0};
    t->body_declared = 0;
    t->route = NULL;
    t->app = NULL;
    t->lane = NULL;
    t->limits = NULL;
    t->limit = RUN_LIMIT_NONE;
    t->status = 0;
    t->content_type = NULL;
    t->body.n = t->head.n = t->body_from = 0;
    t->outcome = TASK_OUTCOME_SERVER;
    t->vm = t->run = NULL;
    t->inbox = NULL;
    t->await = NULL;
    t->spawned = NULL;
    t->spawned_end = &t->spawned;
    t->job = NULL;
    t->fields_read = 0;
    t->timer = (timer){0};
    t->wake_ns = t->deadline_ns = 0;
    t->received_ns = t->ready_ns = t->started_ns = t->run_ns = t->cost_ns = 0;
    t->on_done = NULL;
    t->user = NULL;
}

static void trim(buf *b)
{
    if (b->cap > TASK_KEPT_BUFFER_BYTES)
        buf_fini(b);
}

void task_end(HttpTask *t)
{
    assert(!timer_is_set(&t->timer) && !t->await && !t->spawned);
    if (t->headers != t->inline_headers)
        free(t->headers);
    if (t->target.p && t->target.n >= TASK_INLINE_TARGET)
        free((char *)(uintptr_t)t->target.p);
    buf_fini(&t->request_body);
    trim(&t->body);
    trim(&t->head);
    task_move(t, TASK_FREE);
}

void task_fini(void *task)
{
    HttpTask *t = task;
    buf_fini(&t->body);
    buf_fini(&t->head);
}

void task_add_spawned(HttpTask *by, HttpTask *spawned)
{
    spawned->letter.kind = LETTER_TASK;
    spawned->letter.next = NULL;
    *by->spawned_end = &spawned->letter;
    by->spawned_end = &spawned->letter.next;
}

HttpTask *task_of_letter(letter *l)
{
    return (HttpTask *)(void *)((char *)l - offsetof(HttpTask, letter));
}

HttpTask *task_take_spawned(HttpTask *by)
{
    letter *first = by->spawned;
    if (!first)
        return NULL;
    by->spawned = first->next;
    if (!by->spawned)
        by->spawned_end = &by->spawned;
    return task_of_letter(first);
}

int task_set_target(HttpTask *t, str target)
{
    char *copy = t->target_text;
    if (target.n >= TASK_INLINE_TARGET && !(copy = malloc(target.n + 1)))
        return -ENOMEM;
    memcpy(copy, target.p, target.n);
    copy[target.n] = '\0';
    t->target = (str){copy, target.n};
    const char *mark = memchr(copy, '?', target.n);
    t->path = (str){copy, mark ? (size_t)(mark - copy) : target.n};
    t->query = mark ? (str){mark + 1, target.n - t->path.n - 1} : (str){copy + target.n, 0};
    /* cppcheck-suppress memleak ; the task keeps the copy as its target */
    return 0;
}

static int move_headers_to_heap(HttpTask *t)
{
    uint32_t room = t->header_room * 2;
    task_header *more = malloc(room * sizeof(*more));
    if (!more)
        return -ENOMEM;
    memcpy(more, t->headers, t->header_count * sizeof(*more));
    if (t->headers != t->inline_headers)
        free(t->headers);
    t->headers = more;
    t->header_room = room;
    return 0;
}

int task_add_header(HttpTask *t, str name, str value)
{
    if (t->header_count == t->header_room && move_headers_to_heap(t) < 0)
        return -ENOMEM;
    t->headers[t->header_count++] = (task_header){name.p, value.p, (uint32_t)name.n, (uint32_t)value.n};
    return 0;
}

str task_header_find(const HttpTask *t, str name)
{
    for (uint32_t i = 0; i < t->header_count; i++) {
        const task_header *h = &t->headers[i];
        if (str_eq_nocase((str){h->name, h->name_bytes}, name))
            return (str){h->value, h->value_bytes};
    }
    return (str){0};
}

str task_id(HttpTask *t)
{
    if (t->id.n)
        return t->id;
    str given = task_header_find(t, STR("x-request-id"));
    if (request_id_is_sane(given))
        return t->id = given;
    request_id_make(t->id_text);
    return t->id = (str){t->id_text, REQUEST_ID_BYTES};
}
