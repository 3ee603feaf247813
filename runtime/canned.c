#include "runtime/canned.h"

#include <stdio.h>

void canned_empty(HttpTask *t, int status)
{
    t->status = status;
    t->content_type = NULL;
    t->body.n = t->head.n = t->body_from = 0;
}

void canned_error(HttpTask *t, int status, const char *message)
{
    canned_empty(t, status);
    t->outcome = TASK_OUTCOME_SERVER;
    str id = task_id(t);
    if (buf_addf(&t->body, "{\"error\":\"%s\",\"status\":%d,\"request_id\":\"%.*s\"}", message, status,
                 (int)id.n, id.p) == 0)
        t->content_type = "application/json";
}

int canned_header(HttpTask *t, const char *name, const char *value)
{
    int err = buf_add(&t->head, name, strlen(name) + 1);
    return err ? err : buf_add(&t->head, value, strlen(value) + 1);
}

void canned_busy_for(HttpTask *t, const char *message, unsigned seconds)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", seconds);
    canned_error(t, 503, message);
    canned_header(t, "Retry-After", text);
}

void canned_busy(HttpTask *t, const char *message)
{
    canned_busy_for(t, message, 1);
}
