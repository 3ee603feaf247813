/* Options as text, from the command line's side: lines "name=value". What is taken has to be within an
 * option's limits, what is refused to be told with its name, and a server made of what was taken has to
 * accept it or say why not. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/poolsrv.h"

enum { LINES_MAX = 40, LINE_BYTES = 300 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char lines[LINES_MAX][LINE_BYTES]; /* texts are kept as pointers */
    ps_options opt;
    ps_error err;
    ps_options_init(&opt);
    const char *p = (const char *)data, *end = p + size;
    for (int i = 0; i < LINES_MAX && p < end; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        size_t kept = n < LINE_BYTES ? n : LINE_BYTES - 1;
        memcpy(lines[i], p, kept);
        lines[i][kept] = '\0';
        p += stop ? n + 1 : n;
        char *equals = strchr(lines[i], '=');
        if (equals)
            *equals++ = '\0';
        err = (ps_error){0};
        int code = ps_option_set(&opt, lines[i], equals, &err);
        must(code == 0 || (code == PS_EINVAL && err.code == PS_EINVAL && err.message[0]));
        must(code != 0 || (opt.threads >= 0 && opt.port >= 0 && opt.port <= 65535 &&
                           opt.max_connections >= 1 && opt.head_timeout >= 0 && opt.header_room >= 4096));
    }
    ps_server *srv = NULL;
    err = (ps_error){0};
    int code = ps_server_new(&opt, &srv, &err);
    must((code == 0) == (srv != NULL) && (code == 0 || err.message[0]));
    ps_server_free(srv);
    return 0;
}
