/* poolsrv: a pool of threads, each with a Lua VM, that answers HTTP requests.
 *
 *     ps_options opt;
 *     ps_options_init(&opt);
 *     opt.threads = 8;
 *     ps_server *srv = NULL;
 *     ps_error err;
 *     if (ps_server_new(&opt, &srv, &err) < 0 || ps_server_load_file(srv, "app.lua", &err) < 0 ||
 *         ps_server_listen(srv, "127.0.0.1", 8080, &err) < 0 || ps_server_run(srv, &err) < 0)
 *         fprintf(stderr, "%s\n", err.message);
 *     ps_server_free(srv);
 *
 * Functions return 0 or a negative PS_E... code; with a code comes a text in *err, where err may be NULL.
 * Strings that go in are copied, unless it says otherwise. The library keeps no global state but its log
 * sink, and several servers may live in one process. It installs one signal handler, for SIGRTMIN+5, and that
 * only when a limit of time is on (cpu_limit, handler_timeout, or an app's own): it ends handlers that take
 * too long, on the threads of the pool; no other thread is meant, and none is sent any. */
#ifndef POOLSRV_H
#define POOLSRV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PS_API __attribute__((visibility("default")))
#else
#define PS_API
#endif

/* --- errors --- */

#define PS_ERROR_MAP(X)                                                                                      \
    X(PS_ENOMEM, -1, "out of memory")                                                                        \
    X(PS_EINVAL, -2, "invalid argument")                                                                     \
    X(PS_EAPP, -3, "the application has an error")                                                           \
    X(PS_ELISTEN, -4, "cannot listen")                                                                       \
    X(PS_ESTATE, -5, "not possible in this state of the server")                                             \
    X(PS_ESYSTEM, -6, "the system refused")                                                                  \
    X(PS_EAGAIN, -7, "full; try again later")                                                                \
    X(PS_EGRACE, -8, "the grace period ended before all requests did")

enum {
#define X(name, value, text) name = value,
    PS_ERROR_MAP(X)
#undef X
};

enum { PS_ERROR_BYTES = 1024 };

typedef struct ps_error {
    int code;                     /* one of PS_E... */
    char message[PS_ERROR_BYTES]; /* for people, one or more lines, closed by NUL */
} ps_error;

/* The text of a code. Threads: any. */
PS_API const char *ps_strerror(int code);

/* --- options --- */

/* Every option: X(kind, field, flag, default, argument, help).
 * kind: INT (int), SIZE (uint64_t, bytes; k, m, g may follow), SECONDS (double), BOOL (int), TEXT (const char
 * *, default may be NULL), and an enumeration: CHOICE (const char *), whose `argument` lists the words. The
 * command line has --flag, the environment POOLSRV_FLAG in upper case with '_', and api.config{} the field's
 * name. */
#define PS_OPTION_MAP(X)                                                                                     \
    X(TEXT, host, "host", "127.0.0.1", "ADDRESS",                                                            \
      "listen on this address; :: is every IPv4 and IPv6 address")                                           \
    X(INT, port, "port", 8080, "N", "TCP port; 0 picks a free one and prints it")                            \
    X(TEXT, unix_path, "unix", NULL, "PATH", "listen on a Unix socket instead of TCP")                       \
    X(INT, threads, "threads", 0, "N", "worker threads with sockets; 0: as many as cores")                   \
    X(INT, heavy_threads, "heavy-threads", 0, "N",                                                           \
      "threads for long handlers, in addition; 0: the larger of 2 and the cores")                            \
    X(INT, max_heavy, "max-heavy", 0, "N",                                                                   \
      "heavy threads at most, while some of them are blocked; 0: the larger of 16 and 4 times "              \
      "heavy-threads")                                                                                       \
    X(CHOICE, lane, "lane", "auto", "auto|light|heavy",                                                      \
      "where handlers run: measured for each route, or all in one place")                                    \
    X(CHOICE, context, "context", "recycled", "eager|lazy|preregistered|recycled",                           \
      "how the request context is made; the ways differ in cost")                                            \
    X(INT, max_connections, "max-connections", 10000, "N", "open connections, shared evenly by the workers") \
    X(INT, max_queue, "max-queue", 1024, "N", "requests that may wait for heavy threads; beyond it 503")     \
    X(SECONDS, max_wait, "max-wait", 10, "SECONDS",                                                          \
      "how long requests may wait for heavy threads; 503 at once if it is going to be longer; 0: no limit")  \
    X(SIZE, max_body, "max-body", 1048576, "BYTES", "largest request body; beyond it 413")                   \
    X(SIZE, header_room, "header-room", 8192, "BYTES", "memory a connection holds for heads")                \
    X(SIZE, max_request_line, "max-request-line", 8192, "BYTES",                                             \
      "longest request line that fits the header-room; beyond it 414; 0: no limit")                          \
    X(SIZE, max_header_size, "max-header-size", 65536, "BYTES",                                              \
      "a request's headers together, if the header-room holds them; beyond it 431; 0: no limit")             \
    X(INT, max_headers, "max-headers", 100, "N", "headers of a request; beyond it 431; 0: no limit")         \
    X(INT, max_connections_per_address, "max-connections-per-address", 0, "N",                               \
      "open connections of one client's address, or of one IPv6 /64; 0: no limit")                           \
    X(SECONDS, idle_timeout, "idle-timeout", 60, "SECONDS",                                                  \
      "close a connection on which no request has come for as long; 0: never")                               \
    X(SECONDS, head_timeout, "head-timeout", 20, "SECONDS",                                                  \
      "a request's head has to come within it; then 408; 0: no limit")                                       \
    X(SECONDS, body_timeout, "body-timeout", 20, "SECONDS",                                                  \
      "in each such time a body has to come at body-min-rate at least; then 408; 0: no limit")               \
    X(SIZE, body_min_rate, "body-min-rate", 500, "BYTES", "bytes a second of a request's body")              \
    X(SECONDS, send_timeout, "send-timeout", 20, "SECONDS",                                                  \
      "in each such time a client has to read its reply at send-min-rate at least; 0: no limit")             \
    X(SIZE, send_min_rate, "send-min-rate", 500, "BYTES", "bytes a second of a reply")                       \
    X(SECONDS, handler_timeout, "handler-timeout", 60, "SECONDS",                                            \
      "end a handler that has taken as long, waits included; 0: never")                                      \
    X(SECONDS, cpu_limit, "cpu-limit", 10, "SECONDS",                                                        \
      "end a handler that has used as much processor time; 0: never")                                        \
    X(SIZE, memory_limit, "memory-limit", 268435456, "BYTES",                                                \
      "memory that a handler may add to what its Lua VM holds; 0: no limit")                                 \
    X(SIZE, vm_memory_limit, "vm-memory-limit", 1073741824, "BYTES",                                         \
      "memory that a Lua VM may hold while it serves; 0: no limit")                                          \
    X(CHOICE, sandbox, "sandbox", "default", "default|strict",                                               \
      "what apps may reach: all but what breaks the process, or no files, processes, C modules and debug")   \
    X(CHOICE, globals, "globals", "warn", "warn|error|allow",                                                \
      "a handler that makes a global: told in the log, once for each place, or an error")                    \
    X(SECONDS, grace, "grace", 10, "SECONDS", "how long a stop waits for running requests")                  \
    X(TEXT, trust_proxy, "trust-proxy", NULL, "CIDR[,...]",                                                  \
      "believe these peers, or unix, what Forwarded and X-Forwarded-... say of the client")                  \
    X(TEXT, queue, "queue", "memory:", "URL",                                                                \
      "where queues are: memory:, sqlite:PATH or redis://HOST:PORT/DB")                                      \
    X(TEXT, admin, "admin", NULL, "HOST:PORT", "serve /healthz, /readyz and /metrics on this address")       \
    X(BOOL, access_log, "access-log", 0, NULL, "log every request (on with --dev)")                          \
    X(CHOICE, log_level, "log-level", "info", "error|warn|info|debug",                                       \
      "the least important messages to log")                                                                 \
    X(CHOICE, log_format, "log-format", "text", "text|json", "how log lines look")                           \
    X(BOOL, request_id, "request-id", 0, NULL, "send X-Request-Id with every reply")                         \
    X(BOOL, dev, "dev", 0, NULL, "for developing: tracebacks in replies, reload on change, strict context")

typedef enum ps_option_kind { PS_INT, PS_SIZE, PS_SECONDS, PS_BOOL, PS_TEXT, PS_CHOICE } ps_option_kind;

typedef struct ps_options {
    size_t size; /* of this struct, set by ps_options_init: how versions are told apart */
#define PS_C_INT                                     int
#define PS_C_SIZE                                    uint64_t
#define PS_C_SECONDS                                 double
#define PS_C_BOOL                                    int
#define PS_C_TEXT                                    const char *
#define PS_C_CHOICE                                  const char *
#define X(kind, field, flag, preset, argument, help) PS_C_##kind field;
    PS_OPTION_MAP(X)
#undef X
    /* A bit for each option set by the command line or the environment, which api.config{} then leaves alone;
     * in the order of the list. Set them for fields that the app may not change. */
    uint64_t given;
} ps_options;

typedef struct ps_option_info {
    ps_option_kind kind;
    const char *field, *flag, *preset, *argument, *help;
} ps_option_info;

/* Fill in the defaults. */
PS_API void ps_options_init(ps_options *opt);

/* The list of options, *ret_n long; constant. For help texts, manuals, completion. Threads: any. */
PS_API const ps_option_info *ps_option_list(size_t *ret_n);

/* Set one option by its flag's name ("max-body") or its field's ("max_body") from text ("2m"), and mark it as
 * given. A text is kept as a pointer: it must outlive *opt and the ps_server_new that reads it. Returns: 0,
 * or PS_EINVAL with a text that names the option, the value and what would be good. */
PS_API int ps_option_set(ps_options *opt, const char *name, const char *value, ps_error *err);

/* Set every option that has an environment variable POOLSRV_... and was not given yet. */
PS_API int ps_options_from_environment(ps_options *opt, ps_error *err);

/* --- server --- */

typedef struct ps_server ps_server;

struct lua_State;

/* Make a server. Copies the options. Returns: 0, PS_EINVAL for a value out of range, PS_ENOMEM. */
PS_API int ps_server_new(const ps_options *opt, ps_server **ret_srv, ps_error *err);

/* Make a C module known to `require` in every VM. Before ps_server_load_file. */
PS_API int ps_server_register(ps_server *srv, const char *name, int (*open)(struct lua_State *L));

/* Load the app in a first VM and build its routes; api.config{} takes effect. Once.
 * Returns: 0, PS_EAPP with file, line and cause, PS_ESTATE, PS_EINVAL for a bad value in api.config{}. */
PS_API int ps_server_load_file(ps_server *srv, const char *path, ps_error *err);

/* Find every problem of an app, where ps_server_load_file ends at the first: the app is loaded in a VM of its
 * own, in which it goes on behind what is wrong, and which is closed again. Calls back for each problem, the
 * i-th of n from 0 on, in the order of file and line: one line, "app.lua:12: what", good during the call
 * only. Before ps_server_run, also when loading has failed. Returns: the number of problems, 0 if it can be
 * loaded; PS_EINVAL, PS_ESTATE, PS_ENOMEM. */
PS_API int ps_server_check_file(ps_server *srv, const char *path,
                                void (*each)(const char *problem, int i, int n, void *user), void *user,
                                ps_error *err);

/* Bind, once, before ps_server_run. `host` NULL: what the options say, Unix socket and
 * inherited sockets (LISTEN_FDS) included; else an address and a port (0: any). Connections are taken from
 * ps_server_run on. Returns: 0 or PS_ELISTEN with the address and the cause. */
PS_API int ps_server_listen(ps_server *srv, const char *host, int port, ps_error *err);

/* The i-th address it is bound to, "http://127.0.0.1:8080" or "unix:PATH"; NULL beyond the last. Good until
 * ps_server_free. */
PS_API const char *ps_server_address(const ps_server *srv, size_t i);

/* The i-th route as "GET /users/:id" and where it is defined; NULL beyond the last. */
PS_API const char *ps_server_route(const ps_server *srv, size_t i, const char **ret_where);

/* What the app does beside requests, likewise: "QUEUE mails", "CLOCK task.every(\"5m\")" or "CHANNEL
 * settings".
 */
PS_API const char *ps_server_job(const ps_server *srv, size_t i, const char **ret_where);

/* The options as they are in force: after ps_server_load_file with what the app's api.config{} said and with
 * the numbers of threads. Good until ps_server_free. */
PS_API const ps_options *ps_server_options(const ps_server *srv);

/* Call back when requests are answered from now on: on the thread of ps_server_run, once. */
PS_API void ps_server_on_ready(ps_server *srv, void (*ready)(ps_server *srv, void *user), void *user);

/* Run on_start hooks, start the threads, serve until ps_server_stop, drain, run on_stop hooks. Blocks.
 * Returns: 0 after a stop within its grace, PS_EGRACE after one that was cut off, or the error that kept it
 * from starting. */
PS_API int ps_server_run(ps_server *srv, ps_error *err);

/* Begin to stop, letting what runs finish for grace_ms at most (-1: what the options say); a second call cuts
 * it off at once. Threads: any; may be called from a signal handler. */
PS_API void ps_server_stop(ps_server *srv, int grace_ms);

/* Write to a descriptor what the calling thread runs, lines of text: its route, the request's id, and where
 * in Lua it is; nothing if it runs no handler. For a program's own report of a crash: it may be called from a
 * signal handler, allocates nothing and takes no lock, and may itself fault where memory is damaged. Threads:
 * any. */
PS_API void ps_describe_thread(int fd);

/* Free it; not while it runs. NULL is fine. While a thread is lost in a handler that does not come back, it
 * closes what it listens on and writes out its log, and leaves the rest to the end of the process. */
PS_API void ps_server_free(ps_server *srv);

/* --- requests without a socket --- */

typedef struct ps_str {
    const char *p;
    size_t n;
} ps_str;

typedef struct ps_header {
    ps_str name, value;
} ps_header;

typedef struct ps_req {
    size_t size; /* sizeof(ps_req) */
    const char *method;
    const char *target; /* "/users/42?full" */
    const ps_header *headers;
    size_t header_count;
    ps_str body;
} ps_req;

typedef struct ps_reply {
    int status;
    const ps_header *headers; /* Content-Type and what the app set */
    size_t header_count;
    ps_str body;
} ps_reply;

/* Answer a request through routing, context, hooks and JSON as if it had come over a socket; it runs on the
 * heavy threads. Copies *req. on_reply is called once: on a thread of the pool, or before ps_request returns
 * when no handler is needed (404, 405 ...); *reply is good during the call only. Threads: any, while
 * ps_server_run runs. Returns: 0; PS_EINVAL for a bad request; PS_EAGAIN when max-queue requests wait
 * or the wait is expected to be longer than max-wait; PS_ESTATE when not running; PS_ENOMEM. */
PS_API int ps_request(ps_server *srv, const ps_req *req, void (*on_reply)(const ps_reply *reply, void *user),
                      void *user, ps_error *err);

/* "0.1.0" */
PS_API const char *ps_version(void);

#ifdef __cplusplus
}
#endif

#endif
