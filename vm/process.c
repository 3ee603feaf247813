#include "vm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char shell[] = "/bin/sh";

/* --- starting --- */

/* What is open beyond the three closes when the program begins, except what C modules and io.open opened
 * without saying so: that is closed here. */
static int add_actions(posix_spawn_file_actions_t *actions, int from, int to)
{
    int err = from >= 0 ? posix_spawn_file_actions_adddup2(actions, from, to) : 0;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    if (!err)
        err = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
#endif
    return err;
}

static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int err = posix_spawnattr_setsigmask(attributes, &none);
    if (!err)
        err = posix_spawnattr_setsigdefault(attributes, &all);
    if (!err)
        err = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return err;
}

/* Have a shell run the command, with the descriptor `from` as its `to`, unless `from` is -1.
 * Returns: 0 or an errno. */
static int start(const char *command, int from, int to, pid_t *ret_pid)
{
    char name[] = "sh", option[] = "-c";
    char *const arguments[] = {name, option, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int err = posix_spawn_file_actions_init(&actions);
    if (err)
        return err;
    err = posix_spawnattr_init(&attributes);
    if (!err) {
        err = add_actions(&actions, from, to);
        if (!err)
            err = set_signals(&attributes);
        if (!err)
            err = posix_spawn(ret_pid, shell, &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* Returns: its wait status, or -1 with errno. */
static int wait_for(pid_t pid)
{
    int status = -1;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -1 : status;
}

/* --- os.execute --- */

static int on_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    pid_t pid;
    if (!command) {
        lua_pushboolean(L, access(shell, X_OK) == 0);
        return 1;
    }
    int err = start(command, -1, -1, &pid);
    errno = err;
    return luaL_execresult(L, err ? -1 : wait_for(pid));
}

/* --- io.popen --- */

/* What the functions of files see, and whose process it is. */
typedef struct piped {
    luaL_Stream stream;
    pid_t pid;
} piped;

static int on_close(lua_State *L)
{
    piped *p = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    fclose(p->stream.f);
    return luaL_execresult(L, wait_for(p->pid));
}

/* Returns: 0 or an errno; p->stream is set only when all is well. */
static int open_pipe(piped *p, const char *command, bool reads)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    int own = ends[reads ? 0 : 1], theirs = ends[reads ? 1 : 0];
    FILE *f = fdopen(own, reads ? "r" : "w");
    int err = f ? start(command, theirs, reads ? STDOUT_FILENO : STDIN_FILENO, &p->pid) : errno;
    close(theirs);
    if (err && f)
        fclose(f);
    else if (err)
        close(own);
    if (err)
        return err;
    p->stream.f = f;
    p->stream.closef = on_close;
    return 0;
}

static int on_popen(lua_State *L)
{
    const char *command = luaL_checkstring(L, 1), *mode = luaL_optstring(L, 2, "r");
    luaL_argcheck(L, (mode[0] == 'r' || mode[0] == 'w') && mode[1] == '\0', 2, "invalid mode");
    piped *p = lua_newuserdatauv(L, sizeof(*p), 0);
    *p = (piped){0}; /* without closef it counts as closed */
    luaL_setmetatable(L, LUA_FILEHANDLE);
    int err = open_pipe(p, command, mode[0] == 'r');
    errno = err;
    return err ? luaL_fileresult(L, 0, command) : 1;
}

void process_install(lua_State *L)
{
    lua_getglobal(L, "os");
    lua_pushcfunction(L, on_execute);
    lua_setfield(L, -2, "execute");
    lua_getglobal(L, "io");
    lua_pushcfunction(L, on_popen);
    lua_setfield(L, -2, "popen");
    lua_pop(L, 2);
}
