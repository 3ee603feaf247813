/* sandbox_names: every name that Lua's libraries may hold for an app, and who may have it. For vm/sandbox.c
 * and its tests.
 *
 * What is not in the list is taken out of its library, so a later Lua brings nothing new by itself. What is
 * in the list need not be there: some names exist in some builds of Lua only. The server's own globals are
 * listed too. The rule: by default only what breaks the process goes; --sandbox strict also takes what
 * reaches beyond the request. */
#ifndef VM_SANDBOX_NAMES_H
#define VM_SANDBOX_NAMES_H

enum sandbox_who {
    SANDBOX_NONE,    /* nobody: a call raises */
    SANDBOX_DEFAULT, /* raises with --sandbox strict */
    SANDBOX_ALL
};

/* Why not, and what to do instead. */
#define SANDBOX_FILES     "there are no files with --sandbox strict; let the app embed its data in Lua modules"
#define SANDBOX_PROCESSES "there are no processes with --sandbox strict; do the work in Lua, or ask a service"
#define SANDBOX_C         "there are no C modules with --sandbox strict; the host can register one in C"
#define SANDBOX_DEBUG     "there is no debug library with --sandbox strict; the log has the tracebacks of errors"
#define SANDBOX_ENV                                                                                          \
    "the environment is hidden with --sandbox strict; put the app's settings in a Lua module of its own"
#define SANDBOX_SEED                                                                                         \
    "one generator serves all requests, so it is not seeded with --sandbox strict; it is seeded at the "     \
    "start"
#define SANDBOX_DUMP "bytecode is of no use with --sandbox strict, as it is not loaded; pass source text"

/* X(library, name, who, why): library "_G" holds the globals. `why` is NULL for SANDBOX_ALL. */
#define SANDBOX_NAMES(X)                                                                                     \
    X("_G", "_G", SANDBOX_ALL, NULL)                                                                         \
    X("_G", "_VERSION", SANDBOX_ALL, NULL)                                                                   \
    X("_G", "api", SANDBOX_ALL, NULL)                                                                        \
    X("_G", "assert", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "collectgarbage", SANDBOX_ALL, NULL)                                                             \
    X("_G", "coroutine", SANDBOX_ALL, NULL)                                                                  \
    X("_G", "debug", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "dofile", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("_G", "error", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "getmetatable", SANDBOX_ALL, NULL)                                                               \
    X("_G", "io", SANDBOX_ALL, NULL)                                                                         \
    X("_G", "ipairs", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "json", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "load", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "loadfile", SANDBOX_DEFAULT, SANDBOX_FILES)                                                      \
    X("_G", "math", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "next", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "os", SANDBOX_ALL, NULL)                                                                         \
    X("_G", "package", SANDBOX_ALL, NULL)                                                                    \
    X("_G", "pairs", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "pcall", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "print", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "rawequal", SANDBOX_ALL, NULL)                                                                   \
    X("_G", "rawget", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "rawlen", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "rawset", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "require", SANDBOX_ALL, NULL)                                                                    \
    X("_G", "select", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "setmetatable", SANDBOX_ALL, NULL)                                                               \
    X("_G", "sleep", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "string", SANDBOX_ALL, NULL)                                                                     \
    X("_G", "table", SANDBOX_ALL, NULL)                                                                      \
    X("_G", "tonumber", SANDBOX_ALL, NULL)                                                                   \
    X("_G", "tostring", SANDBOX_ALL, NULL)                                                                   \
    X("_G", "type", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "utf8", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "warn", SANDBOX_ALL, NULL)                                                                       \
    X("_G", "xpcall", SANDBOX_ALL, NULL)                                                                     \
    X("coroutine", "close", SANDBOX_ALL, NULL)                                                               \
    X("coroutine", "create", SANDBOX_ALL, NULL)                                                              \
    X("coroutine", "isyieldable", SANDBOX_ALL, NULL)                                                         \
    X("coroutine", "resume", SANDBOX_ALL, NULL)                                                              \
    X("coroutine", "running", SANDBOX_ALL, NULL)                                                             \
    X("coroutine", "status", SANDBOX_ALL, NULL)                                                              \
    X("coroutine", "wrap", SANDBOX_ALL, NULL)                                                                \
    X("coroutine", "yield", SANDBOX_ALL, NULL)                                                               \
    X("debug", "debug", SANDBOX_NONE, "would wait for a terminal; log with print, or attach a debugger")     \
    X("debug", "gethook", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                    \
    X("debug", "getinfo", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                    \
    X("debug", "getlocal", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                   \
    X("debug", "getmetatable", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                               \
    X("debug", "getregistry", SANDBOX_NONE,                                                                  \
      "would open what the server keeps there, and a change crashes it; keep your values in a module")       \
    X("debug", "getupvalue", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                 \
    X("debug", "getuservalue", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                               \
    X("debug", "setcstacklimit", SANDBOX_NONE,                                                               \
      "would change what C recursion may use; leave the limit as it is")                                     \
    X("debug", "sethook", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                    \
    X("debug", "setlocal", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                   \
    X("debug", "setmetatable", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                               \
    X("debug", "setupvalue", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                 \
    X("debug", "setuservalue", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                               \
    X("debug", "traceback", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                  \
    X("debug", "upvalueid", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                  \
    X("debug", "upvaluejoin", SANDBOX_DEFAULT, SANDBOX_DEBUG)                                                \
    X("io", "close", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("io", "flush", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("io", "input", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("io", "lines", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("io", "open", SANDBOX_DEFAULT, SANDBOX_FILES)                                                          \
    X("io", "output", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("io", "popen", SANDBOX_DEFAULT, SANDBOX_PROCESSES)                                                     \
    X("io", "read", SANDBOX_DEFAULT, SANDBOX_FILES)                                                          \
    X("io", "stderr", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("io", "stdin", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("io", "stdout", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("io", "tmpfile", SANDBOX_DEFAULT, SANDBOX_FILES)                                                       \
    X("io", "type", SANDBOX_DEFAULT, SANDBOX_FILES)                                                          \
    X("io", "write", SANDBOX_DEFAULT, SANDBOX_FILES)                                                         \
    X("json", "array", SANDBOX_ALL, NULL)                                                                    \
    X("json", "array_mt", SANDBOX_ALL, NULL)                                                                 \
    X("json", "decode", SANDBOX_ALL, NULL)                                                                   \
    X("json", "empty_array", SANDBOX_ALL, NULL)                                                              \
    X("json", "encode", SANDBOX_ALL, NULL)                                                                   \
    X("json", "null", SANDBOX_ALL, NULL)                                                                     \
    X("math", "abs", SANDBOX_ALL, NULL)                                                                      \
    X("math", "acos", SANDBOX_ALL, NULL)                                                                     \
    X("math", "asin", SANDBOX_ALL, NULL)                                                                     \
    X("math", "atan", SANDBOX_ALL, NULL)                                                                     \
    X("math", "atan2", SANDBOX_ALL, NULL)                                                                    \
    X("math", "ceil", SANDBOX_ALL, NULL)                                                                     \
    X("math", "cos", SANDBOX_ALL, NULL)                                                                      \
    X("math", "cosh", SANDBOX_ALL, NULL)                                                                     \
    X("math", "deg", SANDBOX_ALL, NULL)                                                                      \
    X("math", "exp", SANDBOX_ALL, NULL)                                                                      \
    X("math", "floor", SANDBOX_ALL, NULL)                                                                    \
    X("math", "fmod", SANDBOX_ALL, NULL)                                                                     \
    X("math", "frexp", SANDBOX_ALL, NULL)                                                                    \
    X("math", "huge", SANDBOX_ALL, NULL)                                                                     \
    X("math", "ldexp", SANDBOX_ALL, NULL)                                                                    \
    X("math", "log", SANDBOX_ALL, NULL)                                                                      \
    X("math", "log10", SANDBOX_ALL, NULL)                                                                    \
    X("math", "max", SANDBOX_ALL, NULL)                                                                      \
    X("math", "maxinteger", SANDBOX_ALL, NULL)                                                               \
    X("math", "min", SANDBOX_ALL, NULL)                                                                      \
    X("math", "mininteger", SANDBOX_ALL, NULL)                                                               \
    X("math", "modf", SANDBOX_ALL, NULL)                                                                     \
    X("math", "pi", SANDBOX_ALL, NULL)                                                                       \
    X("math", "pow", SANDBOX_ALL, NULL)                                                                      \
    X("math", "rad", SANDBOX_ALL, NULL)                                                                      \
    X("math", "random", SANDBOX_ALL, NULL)                                                                   \
    X("math", "randomseed", SANDBOX_DEFAULT, SANDBOX_SEED)                                                   \
    X("math", "sin", SANDBOX_ALL, NULL)                                                                      \
    X("math", "sinh", SANDBOX_ALL, NULL)                                                                     \
    X("math", "sqrt", SANDBOX_ALL, NULL)                                                                     \
    X("math", "tan", SANDBOX_ALL, NULL)                                                                      \
    X("math", "tanh", SANDBOX_ALL, NULL)                                                                     \
    X("math", "tointeger", SANDBOX_ALL, NULL)                                                                \
    X("math", "type", SANDBOX_ALL, NULL)                                                                     \
    X("math", "ult", SANDBOX_ALL, NULL)                                                                      \
    X("os", "clock", SANDBOX_ALL, NULL)                                                                      \
    X("os", "date", SANDBOX_ALL, NULL)                                                                       \
    X("os", "difftime", SANDBOX_ALL, NULL)                                                                   \
    X("os", "execute", SANDBOX_DEFAULT, SANDBOX_PROCESSES)                                                   \
    X("os", "exit", SANDBOX_NONE,                                                                            \
      "would stop the whole server; return a reply, or stop the server with a signal")                       \
    X("os", "getenv", SANDBOX_DEFAULT, SANDBOX_ENV)                                                          \
    X("os", "remove", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("os", "rename", SANDBOX_DEFAULT, SANDBOX_FILES)                                                        \
    X("os", "setlocale", SANDBOX_NONE,                                                                       \
      "would change how all threads of the server read and write numbers; format in Lua instead")            \
    X("os", "time", SANDBOX_ALL, NULL)                                                                       \
    X("os", "tmpname", SANDBOX_DEFAULT, SANDBOX_FILES)                                                       \
    X("package", "config", SANDBOX_ALL, NULL)                                                                \
    X("package", "cpath", SANDBOX_ALL, NULL)                                                                 \
    X("package", "loaded", SANDBOX_ALL, NULL)                                                                \
    X("package", "loadlib", SANDBOX_DEFAULT, SANDBOX_C)                                                      \
    X("package", "path", SANDBOX_ALL, NULL)                                                                  \
    X("package", "preload", SANDBOX_ALL, NULL)                                                               \
    X("package", "searchers", SANDBOX_ALL, NULL)                                                             \
    X("package", "searchpath", SANDBOX_DEFAULT, SANDBOX_FILES)                                               \
    X("string", "byte", SANDBOX_ALL, NULL)                                                                   \
    X("string", "char", SANDBOX_ALL, NULL)                                                                   \
    X("string", "dump", SANDBOX_DEFAULT, SANDBOX_DUMP)                                                       \
    X("string", "find", SANDBOX_ALL, NULL)                                                                   \
    X("string", "format", SANDBOX_ALL, NULL)                                                                 \
    X("string", "gmatch", SANDBOX_ALL, NULL)                                                                 \
    X("string", "gsub", SANDBOX_ALL, NULL)                                                                   \
    X("string", "len", SANDBOX_ALL, NULL)                                                                    \
    X("string", "lower", SANDBOX_ALL, NULL)                                                                  \
    X("string", "match", SANDBOX_ALL, NULL)                                                                  \
    X("string", "pack", SANDBOX_ALL, NULL)                                                                   \
    X("string", "packsize", SANDBOX_ALL, NULL)                                                               \
    X("string", "rep", SANDBOX_ALL, NULL)                                                                    \
    X("string", "reverse", SANDBOX_ALL, NULL)                                                                \
    X("string", "sub", SANDBOX_ALL, NULL)                                                                    \
    X("string", "unpack", SANDBOX_ALL, NULL)                                                                 \
    X("string", "upper", SANDBOX_ALL, NULL)                                                                  \
    X("table", "concat", SANDBOX_ALL, NULL)                                                                  \
    X("table", "insert", SANDBOX_ALL, NULL)                                                                  \
    X("table", "move", SANDBOX_ALL, NULL)                                                                    \
    X("table", "pack", SANDBOX_ALL, NULL)                                                                    \
    X("table", "remove", SANDBOX_ALL, NULL)                                                                  \
    X("table", "sort", SANDBOX_ALL, NULL)                                                                    \
    X("table", "unpack", SANDBOX_ALL, NULL)                                                                  \
    X("utf8", "char", SANDBOX_ALL, NULL)                                                                     \
    X("utf8", "charpattern", SANDBOX_ALL, NULL)                                                              \
    X("utf8", "codepoint", SANDBOX_ALL, NULL)                                                                \
    X("utf8", "codes", SANDBOX_ALL, NULL)                                                                    \
    X("utf8", "len", SANDBOX_ALL, NULL)                                                                      \
    X("utf8", "offset", SANDBOX_ALL, NULL)

#endif
