#include "api/program/queue_table.h"

#include <stdlib.h>
#include <string.h>

#include "api/poolsrv.h"
#include "api/program/json_read.h"
#include "api/program/top_text.h"

enum { BODY_LEAST = 20, ID_USUAL = 26, BETWEEN = 40 /* columns from the id to the body */ };

static void put_name(FILE *out, const char *name, size_t columns)
{
    size_t used = top_text_name(out, name, columns);
    fprintf(out, "%*s", (int)(columns - used), "");
}

/* The widest of that member's, `least` at least. */
static size_t width_of(json_slice list, const char *member, size_t least)
{
    const char *at = NULL;
    json_slice one;
    while (json_read_next(list, &at, &one)) {
        char *text = json_read_string(one, member);
        size_t n = text ? top_text_width(text) : 0;
        least = n > least ? n : least;
        free(text);
    }
    return least;
}

/* --- queues --- */

static void put_count(FILE *out, json_slice object, const char *member)
{
    char cell[TOP_CELL_BYTES];
    double n = json_read_number(object, member, -1);
    fprintf(out, " %8s", n < 0 ? "-" : top_text_count(cell, n));
}

static void put_oldest(FILE *out, json_slice queue)
{
    char cell[TOP_CELL_BYTES];
    bool waits = json_read_number(queue, "ready", 0) > 0;
    fprintf(out, " %8s", waits ? top_text_age(cell, json_read_number(queue, "oldest", 0)) : "-");
}

static void put_queue(FILE *out, json_slice queue, const char *name, size_t columns)
{
    json_slice consumer = {"", 0};
    (void)json_read_member(queue, "consumer", &consumer);
    put_name(out, name, columns);
    put_count(out, queue, "ready");
    put_count(out, queue, "delayed");
    put_count(out, queue, "taken");
    put_oldest(out, queue);
    put_count(out, consumer, "running");
    put_count(out, consumer, "done");
    put_count(out, consumer, "retried");
    put_count(out, consumer, "dead");
    fputc('\n', out);
}

int queue_table_list(FILE *out, const char *reply)
{
    json_slice list, one;
    const char *at = NULL;
    if (!json_read(reply, &list) || *list.p != '[')
        return PS_ESYSTEM;
    size_t columns = width_of(list, "queue", strlen("QUEUE"));
    put_name(out, "QUEUE", columns);
    fprintf(out, " %8s %8s %8s %8s %8s %8s %8s %8s\n", "READY", "DELAYED", "TAKEN", "OLDEST", "RUNNING",
            "DONE", "RETRIED", "DEAD");
    while (json_read_next(list, &at, &one)) {
        char *name = json_read_string(one, "queue");
        if (!name)
            return PS_ESYSTEM;
        put_queue(out, one, name, columns);
        free(name);
    }
    return 0;
}

/* --- messages --- */

/* Of a message that is not ready: when it will be. */
static void put_due(FILE *out, json_slice message, const char *state, double now_s)
{
    char cell[TOP_CELL_BYTES];
    double left_s = json_read_number(message, "due_at", 0) - now_s;
    fprintf(out, " %8s", strcmp(state, "ready") == 0 ? "-" : top_text_age(cell, left_s));
}

/* A body is shown as it came: control characters are escaped in JSON. */
static int put_body(FILE *out, json_slice message, size_t columns)
{
    json_slice body = {"", 0};
    (void)json_read_member(message, "body", &body);
    char *text = strndup(body.p, body.n);
    if (!text)
        return PS_ENOMEM;
    top_text_name(out, text, columns);
    free(text);
    return 0;
}

/* Its first line. */
static void put_error(FILE *out, json_slice message, size_t columns)
{
    char *error = json_read_string(message, "error");
    if (error && *error) {
        error[strcspn(error, "\n")] = '\0';
        fputs("    ", out);
        top_text_name(out, error, columns > BODY_LEAST ? columns - 4 : BODY_LEAST);
        fputc('\n', out);
    }
    free(error);
}

static int put_message(FILE *out, json_slice message, double now_s, size_t id_columns, size_t columns)
{
    char cell[TOP_CELL_BYTES];
    char *id = json_read_string(message, "id"), *state = json_read_string(message, "state");
    size_t used = id_columns + BETWEEN;
    int code = id && state ? 0 : PS_ESYSTEM;
    if (code == 0) {
        put_name(out, id, id_columns);
        fprintf(out, " %-8s %5.0f %4.0f %8s", state, json_read_number(message, "attempts", 0),
                json_read_number(message, "priority", 0),
                top_text_age(cell, now_s - json_read_number(message, "enqueued_at", now_s)));
        put_due(out, message, state, now_s);
        fputs("  ", out);
        code = put_body(out, message, columns > used + BODY_LEAST ? columns - used : BODY_LEAST);
        fputc('\n', out);
        put_error(out, message, columns);
    }
    free(id);
    free(state);
    return code;
}

int queue_table_messages(FILE *out, const char *reply, double now_s, size_t columns)
{
    json_slice list, one;
    const char *at = NULL;
    int code = 0;
    if (!json_read(reply, &list) || *list.p != '[')
        return PS_ESYSTEM;
    size_t id_columns = width_of(list, "id", ID_USUAL);
    put_name(out, "ID", id_columns);
    fprintf(out, " %-8s %5s %4s %8s %8s  %s\n", "STATE", "TRIES", "PRIO", "AGE", "DUE IN", "BODY");
    while (code == 0 && json_read_next(list, &at, &one))
        code = put_message(out, one, now_s, id_columns, columns);
    return code;
}
