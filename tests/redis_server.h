/* redis_server: a real redis-server of the test's own, in a temporary folder, on a Unix socket and a free
 * port.
 *
 * It ends with the thread that started it, or by redis_server_stop. Thread: one. */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not Check's: it is used outside of tests too. */
#define redis_server_need(condition, ...)                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "redis_server: " __VA_ARGS__);                                                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

enum { REDIS_SERVER_PATIENCE_S = 30, REDIS_SERVER_ARGUMENTS = 32 };

typedef struct redis_server {
    pid_t pid;   /* 0: it does not run */
    pid_t owner; /* who started it: a fork of it does not stop it */
    int port;
    char folder[64];
    char path[96]; /* of the socket */
    char unix_url[128], tcp_url[64];
    const char *const *more; /* options, closed by NULL */
} redis_server;

/* A port that nobody listens on now. */
static inline int redis_server_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    redis_server_need(fd >= 0 && bind(fd, (struct sockaddr *)&address, n) == 0 &&
                          getsockname(fd, (struct sockaddr *)&address, &n) == 0,
                      "no port: %s\n", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static inline void redis_server_exec(const redis_server *s)
{
    char port[16];
    const char *argv[REDIS_SERVER_ARGUMENTS] = {
        "redis-server", "--bind", "127.0.0.1", "--port",    port,  "--unixsocket", s->path,  "--dir",
        s->folder,      "--save", "",          "--logfile", "log", "--loglevel",   "warning"};
    size_t n = 15;
    snprintf(port, sizeof port, "%d", s->port);
    for (size_t i = 0; s->more && s->more[i]; i++)
        argv[n++] = s->more[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

/* A connection that waits for the answers; NULL: there is no server. */
static inline redisContext *redis_server_connect(const redis_server *s)
{
    redisContext *c = redisConnectUnix(s->path);
    if (c && c->err) {
        redisFree(c);
        c = NULL;
    }
    return c;
}

/* One command. Returns: its reply, to be freed, or NULL when the connection broke. */
static inline redisReply *redis_server_ask(const redis_server *s, const char *command)
{
    redisContext *c = redis_server_connect(s);
    redisReply *reply = c ? redisCommand(c, command) : NULL;
    if (c)
        redisFree(c);
    return reply;
}

/* A command that has to work. */
static inline void redis_server_do(const redis_server *s, const char *command)
{
    redisReply *reply = redis_server_ask(s, command);
    redis_server_need(reply && reply->type != REDIS_REPLY_ERROR, "%s: %s\n", command,
                      reply ? reply->str : "no reply");
    freeReplyObject(reply);
}

static inline bool redis_server_answers(const redis_server *s)
{
    redisReply *reply = redis_server_ask(s, "PING");
    bool well = reply && (reply->type == REDIS_REPLY_STATUS || strncmp(reply->str, "NOAUTH", 6) == 0);
    if (reply)
        freeReplyObject(reply);
    return well;
}

/* Start it, or start it again in the same place. */
static inline void redis_server_run(redis_server *s)
{
    time_t until = time(NULL) + REDIS_SERVER_PATIENCE_S;
    s->pid = fork();
    redis_server_need(s->pid >= 0, "no process: %s\n", strerror(errno));
    if (s->pid == 0)
        redis_server_exec(s);
    while (!redis_server_answers(s)) {
        redis_server_need(time(NULL) < until && waitpid(s->pid, NULL, WNOHANG) == 0, "it does not start\n");
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static inline void redis_server_start(redis_server *s, const char *const *more)
{
    *s = (redis_server){.more = more, .owner = getpid(), .port = redis_server_free_port()};
    snprintf(s->folder, sizeof s->folder, "/tmp/redis-XXXXXX");
    redis_server_need(mkdtemp(s->folder), "no folder: %s\n", strerror(errno));
    snprintf(s->path, sizeof s->path, "%s/socket", s->folder);
    snprintf(s->unix_url, sizeof s->unix_url, "redis+unix:%s", s->path);
    snprintf(s->tcp_url, sizeof s->tcp_url, "redis://127.0.0.1:%d", s->port);
    redis_server_run(s);
}

static inline void redis_server_signal(redis_server *s, int number)
{
    redis_server_need(kill(s->pid, number) == 0, "no signal: %s\n", strerror(errno));
}

static inline void redis_server_kill(redis_server *s)
{
    if (!s->pid)
        return;
    redis_server_signal(s, SIGKILL);
    redis_server_need(waitpid(s->pid, NULL, 0) == s->pid, "it does not end: %s\n", strerror(errno));
    s->pid = 0;
}

/* Also for one that was never started. */
static inline void redis_server_stop(redis_server *s)
{
    char command[128];
    if (!s->folder[0] || s->owner != getpid())
        return;
    redis_server_kill(s);
    snprintf(command, sizeof command, "rm -rf %s", s->folder);
    redis_server_need(system(command) == 0, "%s stays\n", s->folder);
    s->folder[0] = '\0';
}

#endif
