#include "vm/ctx_fields.h"

#include "tests/vm_fixture.h"
#include "vm/audit.h"
#include "vm/internal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MANY_REQUESTS = 100000 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { MANY_REQUESTS = 100000 };
#else
enum { MANY_REQUESTS = 1000000 };
#endif
#else
enum { MANY_REQUESTS = 1000000 };
#endif

/* Each test runs for each of these. */
static const char *const strategies[] = {"eager", "lazy", "preregistered", "recycled"};

enum { STRATEGIES = sizeof(strategies) / sizeof(strategies[0]) };

static vm_fixture fx;

static bool recycles(int strategy)
{
    return ctx_strategy_named(strategies[strategy])->recycles;
}

static void open_app(int strategy, const char *app)
{
    fixture_open(&fx, strategies[strategy], false, app);
}

static void open_dev_app(int strategy, const char *app)
{
    fixture_open(&fx, strategies[strategy], true, app);
}

static void close_app(void)
{
    fixture_close(&fx);
}

#define GET(...) fixture_ask(&fx, &(ask){.route = "GET /", __VA_ARGS__})

START_TEST(strategies_are_found_by_name)
{
    ck_assert_ptr_nonnull(ctx_strategy_named(strategies[_i]));
    ck_assert_str_eq(ctx_strategy_named(strategies[_i])->name, strategies[_i]);
    ck_assert_ptr_null(ctx_strategy_named("no such thing"));
    ck_assert_ptr_null(ctx_strategy_named(""));
}
END_TEST

/* --- values --- */

START_TEST(values_tell_the_request)
{
    open_app(_i, "function api.get(ctx) return api.text(table.concat({ ctx.method, ctx.path, ctx.target,\n"
                 "  ctx.ip, ctx.id }, ' ')) end");
    ck_assert_str_eq(GET(.path = "/a%20b%2F", .target = "/a%20b%2F?x", .ip = "10.0.0.1", .id = "r1"),
                     "200 text/plain|GET /a b/ /a%20b%2F?x 10.0.0.1 r1");
    close_app();
}
END_TEST

START_TEST(values_may_be_read_again)
{
    open_app(_i, "function api.get(ctx) return { ctx.method == ctx.method, ctx.path == ctx.path,\n"
                 "  ctx.id == ctx.id, rawequal(ctx.target, ctx.target) } end");
    ck_assert_str_eq(GET(.path = "/x"), "200 application/json|[true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(method_of_a_head_request_is_head)
{
    open_app(_i, "function api.get(ctx) return ctx.method end");
    ck_assert_str_eq(GET(.method = "HEAD"), "200 text/plain|HEAD");
    close_app();
}
END_TEST

START_TEST(scheme_and_host_are_what_was_said_or_what_goes_without_saying)
{
    open_app(_i, "function api.get(ctx) return ctx.scheme .. ' ' .. tostring(ctx.host) .. ' ' .. "
                 "tostring(ctx.host) end");
    ck_assert_str_eq(GET(.ip = NULL), "200 text/plain|http nil nil");
    ck_assert_str_eq(GET(.headers = {"hOST", "a:1"}), "200 text/plain|http a:1 a:1");
    ck_assert_str_eq(GET(.scheme = "https", .authority = "b", .headers = {"Host", "a"}),
                     "200 text/plain|https b b");
    ck_assert_str_eq(GET(.headers = {"Host", "c"}), "200 text/plain|http c c");
}
END_TEST

START_TEST(ip_is_nil_where_there_is_none)
{
    open_app(_i, "function api.get(ctx) return tostring(ctx.ip) .. tostring(ctx.ip) end");
    ck_assert_str_eq(GET(.ip = NULL), "200 text/plain|nilnil");
    ck_assert_str_eq(GET(.ip = "::1"), "200 text/plain|::1::1");
    ck_assert_str_eq(GET(.ip = NULL), "200 text/plain|nilnil");
    close_app();
}
END_TEST

START_TEST(id_is_made_at_its_first_use)
{
    call c;
    open_app(_i, "function api.get(ctx) return ctx.path .. ctx:body() end\n"
                 "function api.id.get(ctx) return ctx.id .. ctx.id end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_uint_eq(c.ids_made, 0);
    call_end(&fx, &c);
    call_run(&fx, &c, &(ask){.route = "GET /id"});
    ck_assert_uint_gt(c.ids_made, 0);
    ck_assert_str_eq(call_body(&c), "req-1req-1");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(values_stay_the_same_however_often_they_are_read)
{
    open_app(
        _i,
        "function api.get(ctx)\n"
        "  local seen = {}\n"
        "  for i = 1, 5 do\n"
        "    for _, name in ipairs { 'method', 'path', 'target', 'ip', 'id' } do seen[ctx[name]] = true end\n"
        "  end\n"
        "  local list = {} for v in pairs(seen) do list[#list + 1] = v end table.sort(list)\n"
        "  return table.concat(list, ' ')\n"
        "end");
    ck_assert_str_eq(GET(.path = "/a", .target = "/a?b", .ip = "::1", .id = "r1"),
                     "200 text/plain|/a /a?b ::1 GET r1");
    ck_assert_str_eq(GET(.method = "HEAD", .path = "/c", .target = "/c", .ip = "::2", .id = "r2"),
                     "200 text/plain|/c ::2 HEAD r2");
    close_app();
}
END_TEST

START_TEST(every_method_is_told_in_any_order)
{
    static const char *const methods[] = {"GET", "PUT", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS"};
    open_app(_i, "function api.get(ctx) return ctx.method end");
    for (size_t i = 0; i < 50; i++) {
        const char *method = methods[i * i % 7];
        ck_assert_str_eq(GET(.method = method) + strlen("200 text/plain|"), method);
    }
    close_app();
}
END_TEST

START_TEST(fields_are_found_by_their_whole_name)
{
    open_app(
        _i,
        "local near = { 'metho', 'methods', 'methot', 'pat', 'pats', 'jso', 'bods', 'ips', 'ik', "
        "'target\\0',\n"
        "  'id\\0', 'query_all\\0', 'query_alk', 'queri', 'param', 'headerz', 'cookiez', 'headersx', 'i', "
        "'p' }\n"
        "function api.get(ctx)\n"
        "  for _, name in ipairs(near) do if ctx[name] ~= nil then return name end end\n"
        "  local kinds = {}\n"
        "  for i, name in ipairs { 'method', 'path', 'target', 'ip', 'id', 'headers', 'header', 'query',\n"
        "    'query_all', 'params', 'body', 'json', 'cookies' } do kinds[i] = type(ctx[name]):sub(1, 1) end\n"
        "  return table.concat(kinds)\n"
        "end");
    ck_assert_str_eq(GET(.ip = "::1"), "200 text/plain|sssssffffffff");
    close_app();
}
END_TEST

START_TEST(unknown_fields_are_nil)
{
    open_app(_i,
             "function api.get(ctx) return { ctx.nothing == nil, ctx[1] == nil, ctx[nil] == nil,\n"
             "  ctx.Method == nil, ctx[true] == nil, ctx[{}] == nil, ctx[''] == nil, ctx.run == nil } end");
    ck_assert_str_eq(GET(), "200 application/json|[true,true,true,true,true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(paths_are_bytes)
{
    open_app(_i, "function api.get(ctx) return { #ctx.path, ctx.path:byte(2) } end");
    ck_assert_str_eq(GET(.path = "/%FF"), "200 application/json|[2,255]");
    close_app();
}
END_TEST

/* --- functions --- */

START_TEST(each_function_returns_the_same_table_within_a_request)
{
    open_app(_i,
             "function api.get(ctx)\n"
             "  local list = {}\n"
             "  for i, name in ipairs { 'headers', 'query', 'query_all', 'params', 'json', 'cookies' } do\n"
             "    local t = ctx[name](ctx)\n"
             "    list[i] = type(t) == 'table' and t.own == nil\n"
             "    t.own = true\n"
             "    list[i] = list[i] and rawequal(t, ctx[name](ctx)) and ctx[name](ctx).own\n"
             "  end\n"
             "  return list\n"
             "end");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(GET(.body = STR("{}"), .query = "a=b"),
                         "200 application/json|[true,true,true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(tables_of_a_request_are_not_those_of_the_next)
{
    open_app(_i, "local kept = {}\n"
                 "function api.get(ctx)\n"
                 "  local old = kept\n"
                 "  kept = { ctx:headers(), ctx:query(), ctx:params(), ctx:cookies(), ctx:query_all() }\n"
                 "  for i, t in ipairs(kept) do if t == old[i] then return 'shared' end end\n"
                 "  return old[2] and old[2].a or 'first'\n"
                 "end");
    ck_assert_str_eq(GET(.query = "a=1"), "200 text/plain|first");
    ck_assert_str_eq(GET(.query = "a=2"), "200 text/plain|1");
    ck_assert_str_eq(GET(.query = "a=3"), "200 text/plain|2");
    close_app();
}
END_TEST

START_TEST(function_without_a_colon_is_a_clear_error)
{
    open_app(_i, "function api.get(ctx) return ctx.headers() end\n"
                 "function api.odd.get(ctx) return ctx.query({}) end\n"
                 "function api.text.get(ctx) return ctx.header('host') end");
    ck_assert_contains(GET(), "500 ");
    ck_assert_contains(fixture_get(&fx, "GET /odd"), "500 ");
    ck_assert_contains(fixture_get(&fx, "GET /text"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "GET /: ");
    ck_assert_contains(fixture_logged(&fx), "the context is missing: call it with a colon");
    ck_assert_contains(fixture_logged(&fx), "the first argument is no context");
    close_app();
}
END_TEST

START_TEST(header_names_are_in_lower_case_and_found_in_any)
{
    open_app(_i,
             "function api.get(ctx)\n"
             "  local h = ctx:headers()\n"
             "  local names = {} for k in pairs(h) do names[#names + 1] = k end table.sort(names)\n"
             "  return { names, h.Host or '', h['HOST'], h['host'], ctx:header('hOsT'), tostring(h.nope),\n"
             "    tostring(ctx:header('nope')), tostring(h[1]) }\n"
             "end");
    ck_assert_str_eq(
        GET(.headers = {"HOST", "a", "X-Key", "b"}),
        "200 application/json|[[\"host\",\"x-key\"],\"a\",\"a\",\"a\",\"a\",\"nil\",\"nil\",\"nil\"]");
    close_app();
}
END_TEST

START_TEST(repeated_headers_are_joined)
{
    open_app(_i, "function api.get(ctx) local h = ctx:headers()\n"
                 "  return { h.accept, ctx:header('Accept'), h.cookie, ctx:header('cookie') } end");
    ck_assert_str_eq(
        GET(.headers = {"Accept", "a", "Cookie", "x=1", "accept", "b", "ACCEPT", "", "COOKIE", "y=2"}),
        "200 application/json|[\"a, b, \",\"a, b, \",\"x=1; y=2\",\"x=1; y=2\"]");
    close_app();
}
END_TEST

START_TEST(long_names_of_headers_are_joined_and_found_too)
{
    open_app(_i,
             "function api.get(ctx) local h = ctx:headers() local n = 0 for _ in pairs(h) do n = n + 1 end\n"
             "  return { n, h['access-control-request-headers-of-mine'], h[('x'):rep(300)] or '', h.a,\n"
             "    h['access-control-request-headers-of-yours'] } end");
    ck_assert_str_eq(GET(.headers = {"Access-Control-Request-Headers-Of-Mine", "1", "A", "2",
                                     "access-control-request-headers-of-mine", "3",
                                     "Access-Control-Request-Headers-Of-Yours", "4"}),
                     "200 application/json|[3,\"1, 3\",\"\",\"2\",\"4\"]");
    close_app();
}
END_TEST

START_TEST(names_of_other_requests_headers_do_not_matter)
{
    char name[16], value[16];
    open_app(_i, "function api.get(ctx) local list = {}\n"
                 "  for k, v in pairs(ctx:headers()) do list[#list + 1] = k .. '=' .. v end\n"
                 "  table.sort(list) return table.concat(list, ' ') end");
    for (int i = 0; i < 2000; i++) {
        char want[64];
        snprintf(name, sizeof(name), "X-%c%d", "aAbB"[i % 4], i % 97);
        snprintf(value, sizeof(value), "%d", i);
        snprintf(want, sizeof(want), "200 text/plain|host=h x-%c%d=%d", "aabb"[i % 4], i % 97, i);
        ck_assert_str_eq(GET(.headers = {i % 2 ? "Host" : "HOST", "h", name, value}), want);
    }
    close_app();
}
END_TEST

START_TEST(header_needs_a_name)
{
    open_app(_i, "function api.get(ctx) return ctx:header() end");
    ck_assert_contains(GET(), "500 ");
    ck_assert_contains(fixture_logged(&fx), "bad argument");
    close_app();
}
END_TEST

START_TEST(query_is_decoded_and_the_first_value_counts)
{
    open_app(_i, "function api.get(ctx) local q = ctx:query()\n"
                 "  return { q.name, q['a b'], q.flag, q.empty, tostring(q.none) } end");
    ck_assert_str_eq(GET(.query = "name=j%26o+hn&a+b=1&name=second&flag&empty="),
                     "200 application/json|[\"j&o hn\",\"1\",\"\",\"\",\"nil\"]");
    close_app();
}
END_TEST

START_TEST(query_is_an_empty_table_without_one)
{
    open_app(_i,
             "function api.get(ctx) return { next(ctx:query()) == nil, next(ctx:query_all()) == nil } end");
    ck_assert_str_eq(GET(.query = ""), "200 application/json|[true,true]");
    close_app();
}
END_TEST

START_TEST(long_queries_are_read_to_their_end)
{
    static char query[8192];
    size_t n = 0;
    for (int i = 0; i < 500; i++)
        n += (size_t)snprintf(query + n, sizeof(query) - n, "n%%3%d=v+%d&&", i % 10, i);
    snprintf(query + n, sizeof(query) - n, "last=%%21");
    open_app(_i, "function api.get(ctx) local q, all = ctx:query(), ctx:query_all()\n"
                 "  return { #all, q.n7, all.n7[50], q.last, all[501][2] } end");
    ck_assert_str_eq(GET(.query = query), "200 application/json|[501,\"v 7\",\"v 497\",\"!\",\"!\"]");
    close_app();
}
END_TEST

START_TEST(query_all_gives_lists_and_order)
{
    open_app(_i, "function api.get(ctx) local all = ctx:query_all()\n"
                 "  return { #all, all[1], all[2], all[3], all.a, all.b, tostring(all.c) } end");
    ck_assert_str_eq(
        GET(.query = "a=1&b&a=%32"),
        "200 application/json|[3,[\"a\",\"1\"],[\"b\",\"\"],[\"a\",\"2\"],[\"1\",\"2\"],[\"\"],\"nil\"]");
    close_app();
}
END_TEST

START_TEST(numeric_names_in_a_query_stay_apart_from_the_order)
{
    open_app(_i, "function api.get(ctx) local all = ctx:query_all() return { all['1'], all[1] } end");
    ck_assert_str_eq(GET(.query = "1=x"), "200 application/json|[[\"x\"],[\"1\",\"x\"]]");
    close_app();
}
END_TEST

START_TEST(params_are_decoded_after_the_split)
{
    open_app(_i, "function api.p_id.s_rest.get(ctx) local p = ctx:params() return { p.id, p.rest } end");
    ck_assert_str_eq(
        fixture_ask(&fx, &(ask){.route = "GET /:id/*rest", .params = {"id", "a%2Fb+c", "rest", "x/y"}}),
        "200 application/json|[\"a/b+c\",\"x/y\"]");
    close_app();
}
END_TEST

START_TEST(body_is_raw_bytes_and_empty_without_one)
{
    open_app(_i, "function api.get(ctx) return { #ctx:body(), ctx:body() == ('a\\0\\xff'), ctx:body() } end");
    ck_assert_str_eq(GET(.body = {"a\0\xff", 3}), "200 application/json|[3,true,\"a\\u0000\xef\xbf\xbd\"]");
    ck_assert_str_eq(GET(.body = {0}), "200 application/json|[0,false,\"\"]");
    close_app();
}
END_TEST

START_TEST(json_bodies_are_decoded)
{
    static const char *const types[] = {"application/json", "Application/JSON; charset=utf-8",
                                        "application/ld+json", "application/json ;x=y"};
    open_app(_i, "function api.get(ctx) local t = ctx:json() return { t.a[1], t.b == json.null } end");
    const char *want = "200 application/json|[9007199254740993,true]";
    str body = STR("{\"a\":[9007199254740993],\"b\":null}");
    ck_assert_str_eq(GET(.body = body), want);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        ck_assert_str_eq(GET(.body = body, .headers = {"content-type", types[i]}), want);
    close_app();
}
END_TEST

START_TEST(json_body_may_be_any_value)
{
    open_app(_i, "function api.get(ctx) return { tostring(ctx:json()), ctx:json() == ctx:json() } end");
    ck_assert_str_eq(GET(.body = STR(" false ")), "200 application/json|[\"false\",true]");
    ck_assert_str_eq(GET(.body = STR("1.0")), "200 application/json|[\"1.0\",true]");
    close_app();
}
END_TEST

START_TEST(malformed_json_is_a_400_with_the_position)
{
    open_app(_i, "function api.get(ctx) return ctx:json() end");
    const char *reply = GET(.body = STR("{\"a\":x}"));
    ck_assert_contains(reply, "400 application/json|");
    ck_assert_contains(reply, "at byte 6");
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

START_TEST(empty_json_is_a_400)
{
    open_app(_i, "function api.get(ctx) return ctx:json() end");
    ck_assert_contains(GET(.body = {0}),
                       "400 application/json|{\"error\":\"the body is empty; JSON is wanted\"");
    close_app();
}
END_TEST

START_TEST(other_content_types_are_a_415_that_names_them)
{
    static const char *const types[] = {"text/plain", "+json", "application/jsonx",
                                        "application/x-www-form-urlencoded"};
    open_app(_i, "function api.get(ctx) return ctx:json() end");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const char *reply = GET(.body = STR("{}"), .headers = {"Content-Type", types[i]});
        ck_assert_contains(reply, "415 application/json|");
        ck_assert_contains(reply, types[i]);
    }
    close_app();
}
END_TEST

START_TEST(json_that_failed_can_be_caught_and_asked_again)
{
    open_app(_i, "function api.get(ctx) return { pcall(ctx.json, ctx) == false, pcall(ctx.json, ctx) == "
                 "false, ctx:body() } end");
    ck_assert_str_eq(GET(.body = STR("x")), "200 application/json|[true,true,\"x\"]");
    close_app();
}
END_TEST

START_TEST(cookies_are_read_and_the_first_of_a_name_counts)
{
    open_app(_i, "function api.get(ctx) local c = ctx:cookies() return { tostring(c.a), tostring(c.b), "
                 "tostring(c.c) } end");
    ck_assert_str_eq(GET(.headers = {"Cookie", "a=1; a=2", "cookie", "b=\"x y\"; a=3"}),
                     "200 application/json|[\"1\",\"x y\",\"nil\"]");
    ck_assert_str_eq(GET(.headers = {0}), "200 application/json|[\"nil\",\"nil\",\"nil\"]");
    close_app();
}
END_TEST

START_TEST(fields_that_were_read_are_counted)
{
    call c;
    bool set_at_once = strcmp(strategies[_i], "eager") == 0; /* so nobody sees whether they are read */
    unsigned always = set_at_once ? 1u << CTX_METHOD | 1u << CTX_PATH : 0;
    open_app(_i, "function api.get(ctx) return ctx.path .. #ctx:body() .. ctx.path end\n"
                 "function api.none.get() return 'x' end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_uint_eq(c.request->fields_read, always | 1u << CTX_PATH | 1u << CTX_BODY);
    call_end(&fx, &c);
    call_run(&fx, &c, &(ask){.route = "GET /none"});
    ck_assert_uint_eq(c.request->fields_read, always);
    call_end(&fx, &c);
    ck_assert_str_eq(ctx_field_names[CTX_QUERY_ALL], "query_all");
    close_app();
}
END_TEST

/* --- nothing survives --- */

/* What the request before may have left: "" when there is nothing. Which of its own fields a context holds
 * itself, and which behind a metatable, is the strategy's business. */
#define LOOK                                                                                                 \
    "local known = { method = 'string', path = 'string', headers = 'function', query = 'function',\n"        \
    "  params = 'function', body = 'function' }\n"                                                           \
    "function api.look.get(ctx)\n"                                                                           \
    "  local left = {}\n"                                                                                    \
    "  for k, v in next, ctx do\n"                                                                           \
    "    if known[k] ~= type(v) then left[#left + 1] = tostring(k) end\n"                                    \
    "  end\n"                                                                                                \
    "  if ctx.own ~= nil then left[#left + 1] = 'own' end\n"                                                 \
    "  if ctx[1] ~= nil or #ctx > 0 then left[#left + 1] = '#' end\n"                                        \
    "  if ctx.method ~= 'GET' or ctx.path ~= '/look' then left[#left + 1] = 'value' end\n"                   \
    "  if next(ctx:query()) or ctx:body() ~= '' then left[#left + 1] = 'result' end\n"                       \
    "  return table.concat(left, ',')\n"                                                                     \
    "end\n"

static const char *const tricks[] = {
    "ctx.own = 'secret'",
    "rawset(ctx, 'own', 'secret')",
    "rawset(ctx, 1, 'secret')",
    "ctx.method = 1 ctx.path = 2 ctx.headers = 3 ctx.body = 4 ctx.query = 5",
    "ctx.method = nil local _ = ctx.method ctx.method = false",
    "for i = 1, 10000 do ctx[i] = i end",
    "for i = 1, 10000 do ctx['k' .. i] = i end",
    "for i = 1, 33 do ctx[{}] = ctx end",
    "for i = 1, 40 do ctx[i] = i ctx[i] = nil end",
    "setmetatable(ctx, { __index = { own = 'secret' } })",
    "setmetatable(ctx, { __index = function() return 'secret' end, __newindex = function() end })",
    "setmetatable(ctx, nil) ctx.own = 1",
    "setmetatable(ctx, { __pairs = function() return function() end end }) ctx.own = 1",
    "setmetatable(ctx, { __mode = 'kv', __metatable = false }) ctx.own = 1",
    "setmetatable(ctx, { __gc = function(c) c.own = 1 end })",
    "setmetatable(ctx, { __len = function() return 7 end })",
    "debug.setmetatable(ctx, { __index = { own = 'secret' } })",
    "debug.setmetatable(ctx, nil)",
    "ctx.own = 1 error 'failed'",
    "ctx.own = 1 error(api.status(200))",
    "ctx.own = 1 sleep(1) ctx.own = 2",
    "ctx.own = 1 coroutine.yield()",
    "ctx:query().own = 1 ctx:headers().own = 1 ctx:params().own = 1 ctx:cookies().own = 1",
    "setmetatable(ctx:headers(), { __index = { own = 1 } })",
    "ctx.own = coroutine.wrap(function() ctx.own = 1 coroutine.yield() end) ctx.own()",
    "getmetatable('').own = nil rawset(ctx, '__index', { own = 1 })",
    "json.array(ctx)",
    "local _ = ctx.path, ctx.path, ctx.path, ctx.id, ctx.id ctx.id = 1",
    "for _ = 1, 3 do ctx.method = ctx.method .. '!' end",
    "table.insert(ctx, 'own') table.sort(ctx)",
    "load('own = 1', 'chunk', 't', ctx)()",
};

enum { TRICKS = sizeof(tricks) / sizeof(tricks[0]) };

START_TEST(nothing_that_a_handler_did_survives_its_request)
{
    static char app[2048];
    const char *trick = tricks[_i % TRICKS];
    snprintf(app, sizeof(app), LOOK "function api.get(ctx) %s end", trick);
    open_app(_i / TRICKS, app);
    const ask look = {.route = "GET /look", .path = "/look"};
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(fixture_ask(&fx, &look), "200 text/plain|");
        GET(.query = "own=1", .body = STR("secret"), .path = "/other");
    }
    for (int i = 0; i < 2; i++)
        ck_assert_msg(strcmp(fixture_ask(&fx, &look), "200 text/plain|") == 0, "%s", trick);
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

START_TEST(nothing_survives_a_cancelled_request)
{
    call c;
    open_app(_i, LOOK "function api.get(ctx) ctx.own = 1 ctx:query() ctx:body() sleep(1) end");
    for (int i = 0; i < 5; i++) {
        call_begin(&fx, &c, &(ask){.route = "GET /", .query = "a=b", .body = STR("x")});
        vm_cancel(fx.vm, c.run);
        call_end(&fx, &c);
        ck_assert_str_eq(fixture_ask(&fx, &(ask){.route = "GET /look", .path = "/look"}), "200 text/plain|");
    }
    close_app();
}
END_TEST

START_TEST(field_set_to_something_keeps_it_until_the_end)
{
    open_app(_i,
             "function api.get(ctx) ctx.method = 'MINE' ctx.n = 1 sleep(1) return { ctx.method, ctx.n } end");
    ck_assert_str_eq(GET(), "200 application/json|[\"MINE\",1]");
    ck_assert_str_eq(GET(), "200 application/json|[\"MINE\",1]");
    close_app();
}
END_TEST

START_TEST(hooks_and_handler_share_one_context)
{
    open_app(_i, "function api.before(ctx) ctx.user = (ctx.user or '') .. 'ann' end\n"
                 "function api.after(ctx, reply) return reply:header('X-User', ctx.user) end\n"
                 "function api.get(ctx) return ctx.user end");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(GET(), "200 text/plain|ann");
    close_app();
}
END_TEST

START_TEST(requests_in_flight_have_contexts_of_their_own)
{
    enum { N = 8 };
    static call calls[N];
    static const char *const queries[N] = {"n=0", "n=1", "n=2", "n=3", "n=4", "n=5", "n=6", "n=7"};
    open_app(_i, "local seen = {}\n"
                 "function api.get(ctx)\n"
                 "  local shared = seen[ctx] seen[ctx] = true\n"
                 "  ctx.n = ctx:query().n sleep(1)\n"
                 "  seen[ctx] = nil\n"
                 "  return tostring(shared) .. ctx.n .. ctx:query().n\n"
                 "end");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            call_begin(&fx, &calls[i], &(ask){.route = "GET /", .query = queries[i]});
        for (int i = N - 1; i >= 0; i--) {
            char want[32];
            call_resume(&fx, &calls[i]);
            snprintf(want, sizeof(want), "nil%d%d", i, i);
            ck_assert_str_eq(call_body(&calls[i]), want);
            call_end(&fx, &calls[i]);
        }
    }
    close_app();
}
END_TEST

START_TEST(context_of_another_request_in_flight_answers_for_its_own)
{
    call c;
    open_app(_i, "local other\n"
                 "function api.wait.get(ctx) other = ctx sleep(1) other = nil return ctx:query().q end\n"
                 "function api.get(ctx) return { other:query().q, ctx:query().q, other.path } end");
    call_begin(&fx, &c, &(ask){.route = "GET /wait", .query = "q=theirs", .path = "/wait"});
    ck_assert_str_eq(GET(.query = "q=mine"), "200 application/json|[\"theirs\",\"mine\",\"/wait\"]");
    call_resume(&fx, &c);
    ck_assert_str_eq(call_body(&c), "theirs");
    call_end(&fx, &c);
    close_app();
}
END_TEST

/* --- kept contexts --- */

static const char *const keepers[] = {
    "kept = ctx",                                         /* a global */
    "up = ctx",                                           /* an upvalue */
    "up = function() return ctx.method, ctx:query() end", /* a closure's upvalue */
    "up = { deep = { ctx } }",                            /* a table */
    "up = coroutine.create(function() coroutine.yield(ctx) end) coroutine.resume(up)", /* a coroutine */
    "up = coroutine.wrap(function() local c = ctx coroutine.yield() return c.method end) up()",
};

static const char *const late_uses[] = {
    "kept.method",
    "up.method",
    "up()",
    "up.deep[1]:query()",
    "select(2, coroutine.resume(up)) == 1 or error 'no'",
    "up()",
};

static const ask keep = {.route = "GET /keep", .query = "keep"};

enum { KEEPERS = sizeof(keepers) / sizeof(keepers[0]), COROUTINE_KEEPER = 4, WRAP_KEEPER = 5 };

static void open_keeper(int i, bool dev)
{
    static char app[2048];
    snprintf(app, sizeof(app),
             "local up\n"
             "function api.keep.get(ctx) if ctx:query().keep then %s return 'kept' end end\n"
             "function api.late.get() return tostring(%s) end",
             keepers[i % KEEPERS], late_uses[i % KEEPERS]);
    fixture_open(&fx, strategies[i / KEEPERS], dev, app);
}

START_TEST(late_use_of_a_kept_context_is_an_error_naming_its_route_in_dev_mode)
{
    if (_i % KEEPERS == COROUTINE_KEEPER)
        return; /* it only holds the context */
    open_keeper(_i, true);
    fixture_get(&fx, "GET /keep"); /* the first is audited, which alone would show it */
    for (int i = 0; i < 3; i++) {
        fixture_forget_log(&fx);
        ck_assert_str_eq(fixture_ask(&fx, &keep), "200 text/plain|kept");
        ck_assert_contains(fixture_get(&fx, "GET /late"), "500 ");
        ck_assert_contains(fixture_logged(&fx),
                           "the context of GET /keep was used after its request had ended");
    }
    close_app();
}
END_TEST

START_TEST(audit_names_the_route_that_keeps_its_context)
{
    open_keeper(_i, false);
    ck_assert_str_eq(fixture_ask(&fx, &keep), "200 text/plain|kept");
    ck_assert_contains(fixture_logged(&fx), "1 [] GET /keep keeps its context after the request has ended");
    close_app();
}
END_TEST

START_TEST(contexts_of_a_route_that_keeps_them_are_not_recycled)
{
    if (_i % KEEPERS == COROUTINE_KEEPER)
        return;
    open_keeper(_i, false);
    fixture_ask(&fx, &keep);
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(fixture_ask(&fx, &keep), "200 text/plain|kept");
        fixture_forget_log(&fx);
        ck_assert_contains(fixture_get(&fx, "GET /late"), "500 ");
        ck_assert_contains(fixture_logged(&fx),
                           "the context of GET /keep was used after its request had ended");
    }
    close_app();
}
END_TEST

START_TEST(context_that_a_coroutine_may_hold_is_not_recycled)
{
    open_keeper(_i * KEEPERS + WRAP_KEEPER, false);
    fixture_get(&fx, "GET /keep"); /* audited, and innocent */
    ck_assert_str_eq(fixture_ask(&fx, &keep), "200 text/plain|kept");
    ck_assert_str_eq(fixture_get(&fx, "GET /keep"), "204 |");
    if (recycles(_i)) {
        ck_assert_contains(fixture_get(&fx, "GET /late"), "500 ");
        ck_assert_contains(fixture_logged(&fx),
                           "the context of GET /keep was used after its request had ended");
    }
    close_app();
}
END_TEST

/* Before the audit has found its route: a context of its own tells its own request, or raises. */
START_TEST(kept_context_that_was_never_recycled_tells_nothing_of_other_requests)
{
    if (recycles(_i))
        return;
    open_app(_i,
             "local kept\n"
             "function api.keep.get(ctx) if ctx:query().keep then kept = ctx end end\n"
             "local function try(name)\n"
             "  local ok, value = pcall(function() local v = kept[name]\n"
             "    return type(v) == 'function' and v(kept) or v end)\n"
             "  assert(ok or value:find('used after its request had ended', 1, true), value)\n"
             "  return ok and tostring(value) or 'raised'\n"
             "end\n"
             "function api.get(ctx) return { try 'path', try 'method', try 'target', try 'id', try 'body',\n"
             "  try 'query', try 'cookies' } end");
    fixture_get(&fx, "GET /keep"); /* audited, and innocent */
    fixture_ask(&fx, &(ask){.route = "GET /keep", .path = "/kept", .query = "keep", .body = STR("theirs")});
    for (int i = 0; i < 3; i++) {
        const char *reply = GET(.path = "/mine", .target = "/mine", .id = "mine", .body = STR("mine"));
        ck_assert_contains(reply, "200 ");
        ck_assert_contains(reply, "\"raised\",\"raised\",\"raised\",\"raised\",\"raised\"]");
        ck_assert_lacks(reply, "mine");
    }
    close_app();
}
END_TEST

/* The first request of a route is audited, and one in AUDIT_EVERY after it. */
START_TEST(route_that_begins_to_keep_its_context_is_found_later)
{
    open_app(_i,
             "local kept = {}\n"
             "function api.keep.get(ctx) if ctx:query().keep then kept[#kept + 1] = ctx end return 'x' end\n"
             "function api.collect.get() for _ = 1, 3 do collectgarbage() end end");
    fixture_get(&fx, "GET /keep");
    for (int i = 1; i < AUDIT_EVERY; i++)
        ck_assert_str_eq(fixture_ask(&fx, &keep), "200 text/plain|x");
    fixture_get(&fx, "GET /collect");
    ck_assert_str_eq(fixture_logged(&fx), "");
    fixture_ask(&fx, &keep);
    fixture_get(&fx, "GET /collect");
    ck_assert_contains(fixture_logged(&fx), "1 [] GET /keep keeps its context after the request has ended");
    close_app();
}
END_TEST

START_TEST(audit_says_it_once_a_route)
{
    open_app(_i, "local list = {}\n"
                 "function api.a.get(ctx) list[#list + 1] = ctx end\n"
                 "function api.b.get(ctx) list[#list + 1] = ctx end\n"
                 "function api.c.get(ctx) list.c = { ctx.method } end");
    for (int i = 0; i < 20; i++) {
        fixture_get(&fx, "GET /a");
        fixture_get(&fx, "GET /b");
        fixture_get(&fx, "GET /c");
    }
    const char *log = fixture_logged(&fx), *a = strstr(log, "GET /a keeps"), *b = strstr(log, "GET /b keeps");
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_null(strstr(a + 1, "GET /a keeps"));
    ck_assert_ptr_null(strstr(b + 1, "GET /b keeps"));
    ck_assert_lacks(log, "GET /c");
    close_app();
}
END_TEST

START_TEST(audit_is_silent_about_handlers_that_let_go)
{
    open_app(_i, "function api.get(ctx) ctx.own = ctx local f = function() return ctx.method end\n"
                 "  pcall(f) coroutine.wrap(f)() sleep(1) return f() end\n"
                 "function api.bad.get(ctx) local _ = ctx.id error 'no' end");
    for (int i = 0; i < 3000; i++) {
        GET();
        fixture_forget_log(&fx);
        fixture_get(&fx, "GET /bad");
        ck_assert_lacks(fixture_logged(&fx), "keeps its context");
    }
    close_app();
}
END_TEST

START_TEST(every_use_of_a_stale_context_is_an_error)
{
    open_dev_app(
        _i,
        "local kept\n"
        "function api.keep.get(ctx) kept = ctx ctx.own = 1 end\n"
        "local function refused(fn) local ok, e = pcall(fn) return not ok and e:find('GET /keep', 1, true) "
        "~= nil end\n"
        "function api.get(ctx) local functions = ctx\n"
        "  return { refused(function() return kept.method end), refused(function() return kept.own end),\n"
        "  refused(function() return kept:headers() end), refused(function() kept.x = 1 end),\n"
        "  refused(function() for _ in pairs(kept) do end end), refused(function() return #kept end),\n"
        "  refused(function() return kept() end),\n"
        "  not pcall(functions.headers, kept), not pcall(functions.body, kept), next(kept) == nil } end");
    fixture_get(&fx, "GET /keep");
    ck_assert_str_eq(GET(), "200 application/json|[true,true,true,true,true,true,true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(context_used_in_a_finalizer_at_the_close_harms_nothing)
{
    open_app(_i, "local kept\n"
                 "function api.get(ctx)\n"
                 "  kept = setmetatable({}, { __gc = function() print(pcall(function() return ctx.method, "
                 "ctx:query() end)) end })\n"
                 "end");
    for (int i = 0; i < 3; i++)
        GET();
    fixture_close_vm(&fx);
    ck_assert_contains(fixture_logged(&fx), "2 [] false");
    close_app();
}
END_TEST

/* --- what it costs --- */

START_TEST(request_that_touches_nothing_allocates_nothing)
{
    if (!recycles(_i))
        return; /* it is what that one is for */
    open_app(_i, "function api.get() return 'x' end");
    lua_gc(fx.vm->L, LUA_GCSTOP);
    for (int i = 0; i < 10; i++)
        GET(); /* the first are audited, and make what is kept */
    size_t before = vm_bytes(fx.vm);
    for (int i = 0; i < 500; i++)
        GET();
    ck_assert_uint_eq(vm_bytes(fx.vm), before);
    close_app();
}
END_TEST

START_TEST(values_read_again_in_later_requests_allocate_no_table)
{
    if (!recycles(_i))
        return;
    open_app(_i, "function api.get(ctx) return ctx.method and ctx.path and ctx.own end");
    lua_gc(fx.vm->L, LUA_GCSTOP);
    for (int i = 0; i < 10; i++)
        GET();
    size_t before = vm_bytes(fx.vm);
    for (int i = 0; i < 500; i++)
        GET();
    ck_assert_uint_eq(vm_bytes(fx.vm), before);
    close_app();
}
END_TEST

/* A whole collection, by way of the app. */
static size_t bytes_after_collection(void)
{
    fixture_get(&fx, "GET /collect");
    return vm_bytes(fx.vm);
}

static void serve_many(int from, int to)
{
    char query[32];
    call c;
    for (int i = from; i < to; i++) {
        snprintf(query, sizeof(query), "k=%d", i);
        call_run(&fx, &c, &(ask){.route = "GET /", .query = query});
        ck_assert_int_eq(c.request->status, 204);
        call_end(&fx, &c);
    }
}

START_TEST(memory_is_flat_over_a_million_requests_with_varying_keys)
{
    open_app(_i, "function api.collect.get() collectgarbage() collectgarbage() end\n"
                 "function api.get(ctx)\n"
                 "  local k = ctx:query().k\n"
                 "  ctx['key' .. k] = k ctx[k .. 'x'] = {} ctx[tonumber(k)] = true\n"
                 "  if k % 100 == 0 then for i = 1, 50 do ctx[k .. i] = i end end\n"
                 "end");
    serve_many(0, MANY_REQUESTS / 10);
    size_t before = bytes_after_collection();
    size_t most = 0;
    for (int step = 1; step < 10; step++) {
        serve_many(step * (MANY_REQUESTS / 10), (step + 1) * (MANY_REQUESTS / 10));
        size_t now = vm_bytes(fx.vm);
        most = now > most ? now : most;
    }
    ck_assert_uint_le(bytes_after_collection(), before + 8192);
    ck_assert_uint_le(most, 4 * before); /* between collections too */
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

START_TEST(memory_is_flat_when_every_context_is_thrown_away)
{
    open_dev_app(_i, "function api.collect.get() collectgarbage() collectgarbage() end\n"
                     "function api.get(ctx) ctx:query() ctx[ctx.id] = 1 end");
    serve_many(0, MANY_REQUESTS / 50);
    size_t before = bytes_after_collection();
    serve_many(0, MANY_REQUESTS / 10);
    ck_assert_uint_le(bytes_after_collection(), before + 8192);
    close_app();
}
END_TEST

static Suite *ctx_suite(void)
{
    const TTest *const each[] = {
        strategies_are_found_by_name,
        values_tell_the_request,
        values_may_be_read_again,
        method_of_a_head_request_is_head,
        scheme_and_host_are_what_was_said_or_what_goes_without_saying,
        ip_is_nil_where_there_is_none,
        id_is_made_at_its_first_use,
        values_stay_the_same_however_often_they_are_read,
        every_method_is_told_in_any_order,
        fields_are_found_by_their_whole_name,
        unknown_fields_are_nil,
        paths_are_bytes,
        each_function_returns_the_same_table_within_a_request,
        tables_of_a_request_are_not_those_of_the_next,
        function_without_a_colon_is_a_clear_error,
        header_names_are_in_lower_case_and_found_in_any,
        repeated_headers_are_joined,
        long_names_of_headers_are_joined_and_found_too,
        names_of_other_requests_headers_do_not_matter,
        header_needs_a_name,
        query_is_decoded_and_the_first_value_counts,
        query_is_an_empty_table_without_one,
        long_queries_are_read_to_their_end,
        query_all_gives_lists_and_order,
        numeric_names_in_a_query_stay_apart_from_the_order,
        params_are_decoded_after_the_split,
        body_is_raw_bytes_and_empty_without_one,
        json_bodies_are_decoded,
        json_body_may_be_any_value,
        malformed_json_is_a_400_with_the_position,
        empty_json_is_a_400,
        other_content_types_are_a_415_that_names_them,
        json_that_failed_can_be_caught_and_asked_again,
        cookies_are_read_and_the_first_of_a_name_counts,
        fields_that_were_read_are_counted,
        nothing_survives_a_cancelled_request,
        field_set_to_something_keeps_it_until_the_end,
        hooks_and_handler_share_one_context,
        requests_in_flight_have_contexts_of_their_own,
        context_of_another_request_in_flight_answers_for_its_own,
        context_that_a_coroutine_may_hold_is_not_recycled,
        kept_context_that_was_never_recycled_tells_nothing_of_other_requests,
        route_that_begins_to_keep_its_context_is_found_later,
        audit_says_it_once_a_route,
        audit_is_silent_about_handlers_that_let_go,
        every_use_of_a_stale_context_is_an_error,
        context_used_in_a_finalizer_at_the_close_harms_nothing,
        request_that_touches_nothing_allocates_nothing,
        values_read_again_in_later_requests_allocate_no_table,
        memory_is_flat_over_a_million_requests_with_varying_keys,
        memory_is_flat_when_every_context_is_thrown_away,
    };
    Suite *s = suite_create("ctx");
    TCase *tc = tcase_create("each strategy");
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
        tcase_add_loop_test(tc, each[i], 0, STRATEGIES);
    tcase_add_loop_test(tc, nothing_that_a_handler_did_survives_its_request, 0, STRATEGIES * TRICKS);
    tcase_add_loop_test(tc, late_use_of_a_kept_context_is_an_error_naming_its_route_in_dev_mode, 0,
                        STRATEGIES * KEEPERS);
    tcase_add_loop_test(tc, audit_names_the_route_that_keeps_its_context, 0, STRATEGIES * KEEPERS);
    tcase_add_loop_test(tc, contexts_of_a_route_that_keeps_them_are_not_recycled, 0, STRATEGIES * KEEPERS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(ctx_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
