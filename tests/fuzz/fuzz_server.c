/* A whole server, fed with raw bytes over a Unix socket. What it answers is read as strictly as RFC 9112
 * allows: each reply is whole, none comes after one that says "Connection: close", there are no more than
 * request lines could be, and no header has a name that neither the server nor the app gave it, whatever the
 * client had put on the reply. Half of the inputs are for the light lane, the others for the heavy one.
 * Afterwards an honest client gets its answer. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/poolsrv.h"

enum { REPLIES_BYTES = 1 << 20, QUIET_MS = 2, HONEST_EVERY = 64, ECHO_EVERY = 8, PATIENCE_MS = 10000 };
enum { ECHO_BYTES = 500 }; /* such a header has room in a reply's head */

static char folder[] = "/tmp/poolsrv-fuzz-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool ready;

static void must(bool truth)
{
    if (!truth)
        abort();
}

/* --- the server --- */

static const char app[] = "function api.get(ctx) return 'hello' end\n"
                          "function api.s_rest.get(ctx)\n"
                          "    return { ctx.path, ctx:query(), ctx:headers(), ctx:cookies(), ctx:params() }\n"
                          "end\n"
                          "function api.s_rest.post(ctx) return #ctx:body() .. '' end\n"
                          "function api.json.post(ctx) return ctx:json() end\n"
                          "function api.sleep.get() sleep(0) return 'slept' end\n"
                          "local function echo(ctx)\n"
                          "    local q = ctx:query()\n"
                          "    return api.text 'echo':header('X-Echo', q.v or ''):cookie('c', q.c or '')\n"
                          "end\n"
                          "function api.echo.get(ctx)\n"
                          "    local ok, reply = pcall(echo, ctx)\n"
                          "    return ok and reply or 'refused'\n"
                          "end\n"
                          "function api.go.get(ctx)\n"
                          "    local ok, reply = pcall(api.redirect, ctx:query().to)\n"
                          "    return ok and reply or 'refused'\n"
                          "end\n";

static void on_ready(ps_server *srv, void *user)
{
    (void)srv;
    (void)user;
    pthread_mutex_lock(&lock);
    ready = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void *run(void *srv)
{
    ps_error err;
    ps_server_run(srv, &err);
    abort(); /* it does not end here */
}

static void remove_folder(void)
{
    char path[128];
    unlink(address.sun_path);
    snprintf(path, sizeof path, "%s/app.lua", folder);
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    char path[128];
    ps_options opt;
    ps_error err;
    static ps_server *srv; /* static, so that it counts as reachable at the end */
    pthread_t thread;
    must(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    snprintf(path, sizeof path, "%s/app.lua", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    FILE *f = fopen(path, "w");
    must(f && fputs(app, f) >= 0 && fclose(f) == 0);
    ps_options_init(&opt);
    opt.threads = opt.heavy_threads = 1;
    opt.unix_path = address.sun_path;
    opt.log_level = "error";
    must(ps_server_new(&opt, &srv, &err) == 0 && ps_server_load_file(srv, path, &err) == 0 &&
         ps_server_listen(srv, NULL, 0, &err) == 0);
    ps_server_on_ready(srv, on_ready, NULL);
    must(pthread_create(&thread, NULL, run, srv) == 0);
    pthread_mutex_lock(&lock);
    while (!ready)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return 0;
}

/* --- the client --- */

static int connect_to_server(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static bool send_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0)
            return false; /* it was refused before its end */
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* libFuzzer's alarm interrupts it. Returns: whether there is something to read. */
static bool wait_readable(int fd, int quiet_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do
        n = poll(&p, 1, quiet_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* Until the end, or until it is quiet. Returns: how many bytes; *ret_ended: the server has closed. */
static size_t read_replies(int fd, char *replies, int quiet_ms, bool *ret_ended)
{
    size_t n = 0;
    *ret_ended = false;
    while (n < REPLIES_BYTES && wait_readable(fd, quiet_ms)) {
        ssize_t got = recv(fd, replies + n, REPLIES_BYTES - n, 0);
        *ret_ended = got <= 0;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

/* --- the strict reader --- */

/* A header's value in a head that ends at `end`, or NULL. */
static const char *value_of(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    for (; p < end; p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1)
        if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == ':')
            return p + n + 2;
    return NULL;
}

/* The names that the server, the daemon and the app give to headers. */
static bool is_ours(const char *name, size_t n)
{
    static const char *const ours[] = {"Date",     "Content-Length", "Content-Type", "Connection",
                                       "Allow",    "Retry-After",    "X-Echo",       "Set-Cookie",
                                       "Location", "X-Request-Id"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (n == strlen(ours[i]) && strncasecmp(name, ours[i], n) == 0)
            return true;
    return false;
}

/* Each line of a head that ends at `end`, from behind the status line on: "name: value", no control
 * characters. */
static void check_head(const char *p, const char *end)
{
    p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
    while (p < end) {
        const char *stop = memmem(p, (size_t)(end - p), "\r\n", 2);
        const char *colon = memchr(p, ':', (size_t)(end - p));
        must(stop && colon && colon < stop && colon[1] == ' ' && is_ours(p, (size_t)(colon - p)));
        for (const char *c = colon + 2; c < stop; c++)
            must(((unsigned char)*c >= ' ' && *c != 0x7f) || *c == '\t');
        p = stop + 2;
    }
}

static const char *end_of_head(const char *p, size_t n)
{
    const char *end = n >= 4 ? memmem(p, n, "\r\n\r\n", 4) : NULL;
    return end ? end + 4 : NULL;
}

/* Only GET and POST have bodies in their replies; HEAD may be anywhere among the requests, so a body that is
 * not there is accepted where the input has a HEAD. Returns: how many replies there were. */
static size_t check_replies(const char *p, size_t n, bool ended, bool may_lack_body)
{
    size_t count = 0;
    bool closing = false, daemons = false;
    while (n > 0) {
        must(strncmp(p, "HTTP/1.", n < 7 ? n : 7) == 0);
        const char *body = end_of_head(p, n);
        if (!body)
            return count + 1; /* cut off: it went on when we had waited long enough, or the daemon gave up */
        must((p[7] == '0' || p[7] == '1') && p[8] == ' ');
        int status = atoi(p + 9);
        must(status >= 100 && status <= 599);
        check_head(p, body - 2);
        /* 0.9.75 writes the head of its own reply to a malformed length twice. */
        must(!closing || daemons);
        const char *length = value_of(p, body - 2, "content-length");
        const char *type = value_of(p, body - 2, "content-type");
        const char *connection = value_of(p, body - 2, "connection");
        closing = connection && strncasecmp(connection, "close", 5) == 0;
        daemons = status >= 400 && (!type || strncasecmp(type, "text/html", 9) == 0);
        must(status < 200 || status == 204 || status == 304 || length);
        size_t bytes = length && status != 304 ? strtoul(length, NULL, 10) : 0;
        size_t left = n - (size_t)(body - p);
        bool headless = left >= 7 && strncmp(body, "HTTP/1.", 7) == 0;
        if ((may_lack_body || daemons) && headless)
            bytes = 0;
        else if (bytes > left)
            bytes = left; /* cut off, as above */
        n = left - bytes;
        p = body + bytes;
        count += status >= 200;
    }
    (void)ended;
    return count;
}

static size_t count_of(const uint8_t *data, size_t size, const char *text)
{
    size_t n = 0;
    const uint8_t *end = data + size;
    for (const uint8_t *p = data; (p = memmem(p, (size_t)(end - p), text, strlen(text))); p++)
        n++;
    return n;
}

/* --- the honest client --- */

/* A request after which the connection is closed. *ret: the reply, of which at least the head is there. */
static size_t ask(const char *request, char *ret)
{
    bool ended;
    int fd = connect_to_server();
    must(send_all(fd, request, strlen(request)));
    size_t n = read_replies(fd, ret, PATIENCE_MS, &ended);
    if (!ended || n <= 13 || memcmp(ret, "HTTP/1.1 200 ", 13) != 0) {
        fprintf(stderr, "the honest client got %zu bytes%s:\n%.*s\n", n, ended ? "" : ", and no end",
                (int)(n < 2000 ? n : 2000), ret);
        abort();
    }
    close(fd);
    return n;
}

static bool ends_in(const char *reply, size_t n, const char *body)
{
    size_t bytes = strlen(body);
    return n > bytes && memcmp(reply + n - bytes, body, bytes) == 0;
}

static void ask_honestly(void)
{
    static char reply[REPLIES_BYTES];
    must(ends_in(reply, ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", reply), "hello"));
}

/* The input as the value of a header of the reply: it comes out as it is, or the app hears that it cannot. */
static void ask_for_echo(const uint8_t *data, size_t size)
{
    static char request[3 * ECHO_BYTES + 100], reply[REPLIES_BYTES], line[ECHO_BYTES + 20];
    size_t bytes = size < ECHO_BYTES ? size : ECHO_BYTES;
    bool good = true;
    char *p = request + sprintf(request, "GET /echo?v=");
    for (size_t i = 0; i < bytes; i++) {
        p += sprintf(p, "%%%02x", data[i]);
        good = good && (data[i] >= ' ' || data[i] == '\t') && data[i] != 0x7f;
    }
    strcpy(p, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = ask(request, reply);
    must(check_replies(reply, n, true, false) == 1 && ends_in(reply, n, good ? "\r\n\r\necho" : "refused"));
    if (!good)
        return;
    /* A blank stands for an empty value. */
    size_t line_bytes = (size_t)sprintf(line, "\r\nX-Echo: %s", bytes > 0 ? "" : " ");
    if (bytes > 0)
        memcpy(line + line_bytes, data, bytes);
    memcpy(line + line_bytes + bytes, "\r\n", 2);
    must(memmem(reply, n, line, line_bytes + bytes + 2) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char replies[REPLIES_BYTES];
    static unsigned runs;
    bool ended;
    int fd = connect_to_server();
    send_all(fd, data, size);
    size_t n = read_replies(fd, replies, QUIET_MS, &ended);
    close(fd);
    size_t count = check_replies(replies, n, ended, count_of(data, size, "HEAD") > 0);
    must(count <= 2 * (count_of(data, size, "\n") + 1));
    if (runs % HONEST_EVERY == 0)
        ask_honestly();
    if (runs++ % ECHO_EVERY == 0)
        ask_for_echo(data, size);
    return 0;
}
