/* Finding every problem of an app, where ps_server_load_file ends at the first. See poolsrv.h. */
#include "api/app.h"
#include "api/options.h"
#include "api/problems.h"
#include "api/server.h"

enum { ERROR_BYTES = 1024 };

/* What the app prints has been in the log when it was loaded, or will be. */
static void on_log(void *user, int level, str request_id, str text)
{
    (void)user;
    (void)level;
    (void)request_id;
    (void)text;
}

static void on_problem(void *user, const char *text)
{
    problems_add(user, text);
}

typedef struct config_check {
    problems *found;
    ps_options own; /* what the options would be */
} config_check;

static void on_config(void *user, const char *name, const char *value, const char *where)
{
    config_check *c = user;
    ps_error why;
    if (options_config(&c->own, name, value, &why) != 0)
        problems_addf(c->found, "%s: api.config: %s", where, why.message);
}

static int check_config(ps_server *srv, vm *one, problems *found, ps_error *err)
{
    config_check c = {.found = found};
    int bad = options_copy(&srv->opt, &c.own, err);
    if (bad)
        return bad;
    vm_config_each(one, on_config, &c);
    options_fini(&c.own);
    return 0;
}

/* All that can be found in one run of the app. */
static int look(ps_server *srv, const vm_config *config, const char *path, problems *found, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    vm *one = NULL;
    if (vm_open(config, &one, error, sizeof(error)) < 0)
        return error_set(err, PS_ENOMEM, "%s", error);
    int bad = 0;
    if (vm_check(one, path, on_problem, found, error, sizeof(error)) < 0 ||
        app_check(one, on_problem, found, error, sizeof(error)) < 0)
        bad = error_set(err, PS_ENOMEM, "%s", error);
    else
        bad = check_config(srv, one, found, err);
    vm_close(one);
    return bad;
}

/* Loading it is the judge: whatever keeps it from being loaded is a problem. */
static int make_sure(const vm_config *config, const char *path, problems *found, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    vm *one = NULL;
    if (vm_open(config, &one, error, sizeof(error)) < 0)
        return error_set(err, PS_ENOMEM, "%s", error);
    if (vm_load(one, path, error, sizeof(error)) < 0)
        problems_add(found, error);
    vm_close(one);
    return 0;
}

int ps_server_check_file(ps_server *srv, const char *path,
                         void (*each)(const char *problem, int i, int n, void *user), void *user,
                         ps_error *err)
{
    problems found = {0};
    if (!srv || !path || !each)
        return error_set(err, PS_EINVAL,
                         "ps_server_check_file: a server, a path and a function must be given");
    if (atomic_load(&srv->state) > SERVER_BOUND)
        return error_set(err, PS_ESTATE, "ps_server_check_file: before ps_server_run");
    vm_config config = server_vm_config(srv);
    config.log = on_log;
    config.dicts = NULL; /* to look is not to make any */
    config.stores = NULL;
    int result = look(srv, &config, path, &found, err);
    if (result == 0 && found.n == 0)
        result = make_sure(&config, path, &found, err);
    if (result == 0 && found.lost)
        result = error_set(err, PS_ENOMEM, "out of memory");
    if (result == 0) {
        problems_sort(&found);
        result = (int)found.n;
        for (int i = 0; i < result; i++)
            each(problems_at(&found, (size_t)i), i, result, user);
    }
    problems_fini(&found);
    return result;
}
