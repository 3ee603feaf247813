/* What an app does beside requests, by name: for poolsrv routes. See poolsrv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/server.h"

struct server_job {
    char *name, *where;
};

/* The title of an entry of the clock is `task.every("5m"), app.lua:12`: the place is shown by itself. */
static void name_entry(vm *v, size_t i, const vm_job_def *def, char *name, size_t size)
{
    const char *title = vm_job_text(v, i, "title");
    size_t n = strlen(title), place = strlen(def->where) + 2;
    snprintf(name, size, "CLOCK %.*s", (int)(n > place ? n - place : n), title);
}

static void name_job(vm *v, size_t i, const vm_job_def *def, char *name, size_t size)
{
    static const char channel[] = "channel:";
    if (def->kind == JOB_CONSUME)
        snprintf(name, size, "QUEUE %s", def->name);
    else if (def->kind == JOB_CLOCK)
        name_entry(v, i, def, name, size);
    else
        snprintf(name, size, "CHANNEL %s",
                 strncmp(def->name, channel, sizeof(channel) - 1) == 0 ? def->name + sizeof(channel) - 1
                                                                       : def->name);
}

static int add(ps_server *srv, const char *name, const char *where)
{
    struct server_job *more = realloc(srv->job_list, (srv->job_count + 1) * sizeof(*more));
    if (!more)
        return PS_ENOMEM;
    srv->job_list = more;
    struct server_job *j = &more[srv->job_count];
    *j = (struct server_job){strdup(name), strdup(where)};
    srv->job_count++; /* what is missing is freed as well */
    return j->name && j->where ? 0 : PS_ENOMEM;
}

int server_list_jobs(ps_server *srv, vm *v)
{
    vm_job_def def;
    char name[1024];
    int err = 0;
    for (size_t i = 0; err == 0 && vm_job_at(v, i, &def); i++) {
        name_job(v, i, &def, name, sizeof(name));
        err = add(srv, name, def.where);
    }
    return err;
}

void server_free_jobs(ps_server *srv)
{
    for (size_t i = 0; i < srv->job_count; i++) {
        free(srv->job_list[i].name);
        free(srv->job_list[i].where);
    }
    free(srv->job_list);
}

const char *ps_server_job(const ps_server *srv, size_t i, const char **ret_where)
{
    if (!srv || i >= srv->job_count)
        return NULL;
    if (ret_where)
        *ret_where = srv->job_list[i].where;
    return srv->job_list[i].name;
}
