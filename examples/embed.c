/* A server inside a program of one's own: embed app.lua [TARGET]
 *
 * Loads the app, listens on a free port, asks itself for TARGET ("/") without a socket, prints the reply, and
 * serves until SIGINT or SIGTERM.
 *
 *     cc embed.c $(pkg-config --cflags --libs poolsrv) -o embed */
#include <poolsrv.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The only thing that a signal handler can know of. */
static ps_server *_Atomic running;

static void on_signal(int number)
{
    (void)number;
    ps_server *srv = atomic_load(&running);
    if (srv)
        ps_server_stop(srv, -1);
}

/* Runs on a thread of the pool; what *reply points to is gone when it returns. */
static void on_reply(const ps_reply *reply, void *user)
{
    const char *target = user;
    printf("GET %s: %d\n%.*s\n", target, reply->status, (int)reply->body.n, reply->body.p);
    fflush(stdout);
}

/* From here on requests can be made, over the socket and without. */
static void on_ready(ps_server *srv, void *user)
{
    ps_error err;
    ps_req req = {.size = sizeof req, .method = "GET", .target = user};
    printf("listening on %s\n", ps_server_address(srv, 0));
    fflush(stdout);
    if (ps_request(srv, &req, on_reply, user, &err) < 0)
        fprintf(stderr, "GET %s: %s\n", req.target, err.message);
}

static int serve(ps_server *srv, char *target, ps_error *err)
{
    ps_server_on_ready(srv, on_ready, target);
    atomic_store(&running, srv);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    int code = ps_server_run(srv, err);
    atomic_store(&running, NULL);
    return code;
}

int main(int argc, char **argv)
{
    static char root[] = "/";
    ps_options opt;
    ps_error err;
    ps_server *srv = NULL;
    if (argc < 2 || argc > 3) {
        fputs("usage: embed app.lua [TARGET]\n", stderr);
        return 2;
    }
    ps_options_init(&opt);
    opt.threads = 1;

    int code = ps_server_new(&opt, &srv, &err);
    if (code == 0)
        code = ps_server_load_file(srv, argv[1], &err);
    if (code == 0)
        code = ps_server_listen(srv, "127.0.0.1", 0, &err);
    if (code == 0)
        code = serve(srv, argc > 2 ? argv[2] : root, &err);
    if (code < 0)
        fprintf(stderr, "%s\n", err.message);
    ps_server_free(srv);
    return code < 0;
}
