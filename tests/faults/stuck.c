/* stuck: a Lua module whose functions do not come back until a test lets them, whatever signals arrive. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <unistd.h>

/* stuck.until(path): until somebody opens the FIFO at path for writing. */
static int until(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int fd;
    do
        fd = open(path, O_RDONLY);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return luaL_error(L, "cannot open %s", path);
    close(fd);
    return 0;
}

/* stuck.while_there(path): computing, as long as there is a file at path. */
static int while_there(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    while (access(path, F_OK) == 0)
        ;
    return 0;
}

__attribute__((visibility("default"))) int luaopen_stuck(lua_State *L);

int luaopen_stuck(lua_State *L)
{
    static const luaL_Reg functions[] = {{"until", until}, {"while_there", while_there}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
