/* What an app puts on a reply: names and values of headers, cookies with their options, targets of redirects.
 * Hostile ones have to be refused by an error, after which nothing is sent, and all others have to come out
 * as they were given, one line each, which libmicrohttpd takes; by rules written anew here.
 *
 * An input is doors, divided by FE, and each a letter, then texts, divided by FF:
 *     h name value                                a header
 *     c name value path domain same_site flags    a cookie
 *     r target                                    a redirect
 * One that begins with '!' is an app that catches no errors. */
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <lauxlib.h>

#include "api/lua_sources.h"
#include "vm/vm.h"

enum { DOORS_MAX = 64, TEXTS = 6 };

static const char app[] =
    "local host = require 'host'\n"
    "local function texts_of(door)\n"
    "    local texts = {}\n"
    "    for text in door:sub(2):gmatch '[^\\xff]*' do texts[#texts + 1] = text end\n"
    "    return texts\n"
    "end\n"
    "local function options_of(texts)\n"
    "    if #texts < 3 then return nil end\n"
    "    local flags = texts[6] or ''\n"
    "    local function flag(letter) return flags:find(letter, 1, true) ~= nil end\n"
    "    return { path = texts[3], domain = texts[4], same_site = texts[5], secure = flag 's',\n"
    "        http_only = flag 'h', partitioned = flag 'p', max_age = flag 'm' and #flags or nil }\n"
    "end\n"
    "local doors = {\n"
    "    h = function(reply, texts) return reply:header(texts[1], texts[2] or '') end,\n"
    "    c = function(reply, texts) return reply:cookie(texts[1], texts[2] or '', options_of(texts)) end,\n"
    "    r = function(_, texts) return api.redirect(texts[1]) end,\n"
    "}\n"
    "function api.post(ctx)\n"
    "    local input, kept, redirect = ctx:body(), {}, nil\n"
    "    local try = input:sub(1, 1) == '!' and function(f, ...) return true, f(...) end or pcall\n"
    "    local trial = api.text 'trial'\n"
    "    for door in input:gsub('^!', ''):gmatch '[^\\xfe]+' do\n"
    "        local kind, texts = door:sub(1, 1), texts_of(door)\n"
    "        if doors[kind] then\n"
    "            local wanted = host.wants(kind, table.unpack(texts))\n"
    "            if wanted == nil then break end\n"
    "            host.must(wanted == try(doors[kind], trial, texts))\n"
    "            if wanted and kind == 'r' then redirect = texts[1]\n"
    "            elseif wanted then kept[#kept + 1] = { kind, texts } end\n"
    "        end\n"
    "    end\n"
    "    local reply = redirect and api.redirect(redirect) or api.text 'made'\n"
    "    for _, one in ipairs(kept) do host.must(doors[one[1]](reply, one[2]) == reply) end\n"
    "    return reply\n"
    "end\n";

static void must(bool truth)
{
    if (!truth)
        abort();
}

/* --- the rules, anew --- */

static bool is_token(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] > '~' ||
            strchr("\"(),/:;<=>?@[\\]{}", s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_clean(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

/* Printable ASCII but for those. */
static bool is_made_without(const char *banned, str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~' || strchr(banned, s.p[i]))
            return false;
    return true;
}

static bool is_word(str s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static bool begins(str s, const char *with)
{
    return s.n >= strlen(with) && strncasecmp(s.p, with, strlen(with)) == 0;
}

static bool has(str flags, char letter)
{
    return flags.n > 0 && memchr(flags.p, letter, flags.n);
}

static bool is_header(const str *t)
{
    return is_token(t[0]) && is_clean(t[1]) && !is_word(t[0], "Content-Length") &&
           !is_word(t[0], "Transfer-Encoding") && !is_word(t[0], "Connection");
}

static bool is_cookie(const str *t)
{
    str name = t[0], value = t[1], path = t[2], domain = t[3], same_site = t[4];
    bool secure = has(t[5], 's');
    if (!is_token(name) || !is_made_without(" \",;\\", value) || name.n + value.n > 4096)
        return false;
    if (!is_made_without(";", path) || !is_made_without(";", domain) || path.n > 1024 || domain.n > 1024)
        return false;
    if (path.n > 0 && path.p[0] != '/')
        return false;
    if (same_site.n > 0 && !is_word(same_site, "lax") && !is_word(same_site, "strict") &&
        !(is_word(same_site, "none") && secure))
        return false;
    if (!secure && (has(t[5], 'p') || begins(name, "__Secure-")))
        return false;
    return !begins(name, "__Host-") || (secure && domain.n == 0 && str_eq(path, STR("/")));
}

/* --- what has to come out --- */

typedef struct line {
    str name, value;
} line;

typedef struct expected {
    line lines[DOORS_MAX + 1];
    size_t count;
    unsigned doors;
    bool refused; /* something was to be */
    str redirect;
    buf texts; /* never grows: what lies in it stays */
} expected;

static expected want;

enum { TEXTS_BYTES = 1 << 20 };

/* A text that stays until the next input. */
static str keep(str s)
{
    must(want.texts.n + s.n <= TEXTS_BYTES);
    str kept = {want.texts.p + want.texts.n, s.n};
    must(buf_add_str(&want.texts, s) == 0);
    return kept;
}

static void keep_after(str label, str s)
{
    keep(label);
    keep(s);
}

static str cookie_line(const str *t)
{
    str from = {want.texts.p + want.texts.n, 0};
    keep(t[0]);
    keep(STR("="));
    keep(t[1]);
    if (t[2].n > 0)
        keep_after(STR("; Path="), t[2]);
    if (t[3].n > 0)
        keep_after(STR("; Domain="), t[3]);
    if (has(t[5], 'm'))
        must(buf_addf(&want.texts, "; Max-Age=%zu", t[5].n) == 0);
    if (has(t[5], 's'))
        keep(STR("; Secure"));
    if (has(t[5], 'h'))
        keep(STR("; HttpOnly"));
    if (t[4].n > 0)
        keep(is_word(t[4], "lax")      ? STR("; SameSite=Lax")
             : is_word(t[4], "strict") ? STR("; SameSite=Strict")
                                       : STR("; SameSite=None"));
    if (has(t[5], 'p'))
        keep(STR("; Partitioned"));
    from.n = (size_t)(want.texts.p + want.texts.n - from.p);
    return from;
}

/* As reply:header says: in the place of one of that name, cookies behind one another. */
static void put(str name, str value)
{
    size_t at = 0;
    while (at < want.count && (is_word(name, "Set-Cookie") || name.n != want.lines[at].name.n ||
                               strncasecmp(name.p, want.lines[at].name.p, name.n) != 0))
        at++;
    want.lines[at] = (line){name, value};
    want.count += at == want.count;
}

/* --- the app's host --- */

/* wants(kind, text ...): has it to be accepted? nil: that is enough. */
static int on_wants(lua_State *L)
{
    str t[TEXTS] = {{0}};
    const char *kind = luaL_checkstring(L, 1);
    for (int i = 0; i < TEXTS && i + 2 <= lua_gettop(L); i++)
        t[i].p = lua_tolstring(L, i + 2, &t[i].n);
    if (++want.doors > DOORS_MAX)
        return 0;
    bool good = *kind == 'h' ? is_header(t) : *kind == 'c' ? is_cookie(t) : t[0].n > 0 && is_clean(t[0]);
    want.refused |= !good;
    if (good && *kind == 'h')
        put(keep(t[0]), keep(t[1]));
    else if (good && *kind == 'c')
        put(STR("Set-Cookie"), cookie_line(t));
    else if (good)
        want.redirect = keep(t[0]);
    lua_pushboolean(L, good);
    return 1;
}

static int on_must(lua_State *L)
{
    must(lua_toboolean(L, 1));
    return 0;
}

static int open_host(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wants", on_wants}, {"must", on_must}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

static unsigned errors_logged;

static void on_log(void *user, int level, str id, str text)
{
    (void)user;
    (void)id;
    (void)text;
    errors_logged += level == 0;
}

static vm *open_vm(void)
{
    static const vm_source sources[] = {
#define X(name) {#name, lua_##name, &lua_##name##_size},
        LUA_SOURCES(X)
#undef X
    };
    static const vm_module modules[] = {{"host", open_host}};
    static const vm_config config = {.context = "recycled",
                                     .sources = sources,
                                     .source_count = sizeof sources / sizeof *sources,
                                     .modules = modules,
                                     .module_count = 1,
                                     .log = on_log};
    static vm *v; /* static, so that it counts as reachable at the end */
    char path[] = "/tmp/poolsrv-fuzz-XXXXXX", error[1024];
    int fd = mkstemp(path);
    must(fd >= 0 && write(fd, app, sizeof app - 1) == sizeof app - 1 && close(fd) == 0);
    int err = vm_open(&config, &v, error, sizeof error);
    if (!err)
        err = vm_load(v, path, error, sizeof error);
    unlink(path);
    if (err)
        fprintf(stderr, "%s\n", error);
    must(err == 0);
    return v;
}

/* --- what came out --- */

static str next_text(const char **p, const char *end)
{
    const char *stop = memchr(*p, '\0', (size_t)(end - *p));
    must(stop != NULL);
    str text = {*p, (size_t)(stop - *p)};
    *p = stop + 1;
    return text;
}

/* A redirect has its Location before all that was put on it. */
static void check_lines(const buf *head)
{
    const char *p = head->p, *end = head->n > 0 ? p + head->n : p;
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    must(response != NULL);
    for (size_t i = 0; i < want.count; i++) {
        str name = next_text(&p, end), value = next_text(&p, end);
        must(str_eq(name, want.lines[i].name) && str_eq(value, want.lines[i].value));
        must(MHD_add_response_header(response, name.p, value.n > 0 ? value.p : " ") == MHD_YES);
    }
    must(p == end);
    MHD_destroy_response(response);
}

/* The Location of the redirect was the first on the list; what replaces it takes its place. */
static void move_location(void)
{
    line had[DOORS_MAX + 1];
    size_t n = want.count;
    memcpy(had, want.lines, n * sizeof *had);
    want.count = 0;
    put(STR("Location"), want.redirect);
    for (size_t i = 0; i < n; i++)
        put(had[i].name, had[i].value);
}

static str make_id(void *host)
{
    (void)host;
    return STR("fuzz");
}

static bool names_content_type(void)
{
    for (size_t i = 0; i < want.count; i++)
        if (is_word(want.lines[i].name, "Content-Type"))
            return true;
    return false;
}

static void check(const vm_request *r, bool catches)
{
    if (!catches && want.refused) {
        must(r->status == 500 && r->failed && r->head_out->n == 0 && errors_logged == 1);
        return;
    }
    must(!r->failed && errors_logged == 0);
    if (want.redirect.n > 0)
        move_location();
    must(r->status == (want.redirect.n > 0 ? 302 : 200));
    must((r->content_type != NULL) == (want.redirect.n == 0 && !names_content_type()));
    check_lines(r->head_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vm *v;
    if (!v)
        v = open_vm();
    buf body = {0}, head = {0};
    want = (expected){.texts = want.texts};
    want.texts.n = 0;
    must(buf_reserve(&want.texts, TEXTS_BYTES) == 0);
    errors_logged = 0;
    vm_run *run = vm_run_take(v);
    must(run != NULL);
    vm_request *r = vm_run_request(run);
    *r = (vm_request){.id = make_id,
                      .method = STR("POST"),
                      .target = STR("/"),
                      .path = STR("/"),
                      .body = {(const char *)data, size},
                      .body_out = &body,
                      .head_out = &head};
    must(vm_start(v, run) == VM_DONE);
    check(r, size == 0 || data[0] != '!');
    vm_run_give(v, run);
    buf_fini(&body);
    buf_fini(&head);
    return 0;
}
