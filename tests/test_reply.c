#include "vm/reply.h"

#include "tests/vm_fixture.h"

static vm_fixture fx;

static void open_app(const char *app)
{
    fixture_open(&fx, "recycled", false, app);
}

static void close_app(void)
{
    fixture_close(&fx);
}

/* --- what a handler may return --- */

/* Handlers that return `what`, and their answers. */
typedef struct answer_case {
    const char *what, *answer;
} answer_case;

static void check_answer(const char *what, const char *answer)
{
    char app[1024];
    snprintf(app, sizeof(app), "function api.get(ctx) return %s end", what);
    open_app(app);
    const char *got = fixture_get(&fx, "GET /");
    ck_assert_msg(strcmp(got, answer) == 0, "return %s: %s, not %s\n%s", what, got, answer,
                  fixture_logged(&fx));
    close_app();
    /* With a hook that looks at it, the answer is the same. */
    snprintf(app, sizeof(app), "function api.after() end function api.get(ctx) return %s end", what);
    open_app(app);
    got = fixture_get(&fx, "GET /");
    ck_assert_msg(strcmp(got, answer) == 0, "with a hook, return %s: %s, not %s\n%s", what, got, answer,
                  fixture_logged(&fx));
    close_app();
}

static const answer_case returns[] = {
    {"{ a = 1 }", "200 application/json|{\"a\":1}"},
    {"{ 1, 2 }", "200 application/json|[1,2]"},
    {"{}", "200 application/json|{}"},
    {"json.empty_array", "200 application/json|[]"},
    {"json.null", "200 application/json|null"},
    {"'text'", "200 text/plain|text"},
    {"''", "200 text/plain|"},
    {"", "204 |"},
    {"nil", "204 |"},
    {"true", "200 application/json|true"},
    {"false", "200 application/json|false"},
    {"12", "200 application/json|12"},
    {"1.5", "200 application/json|1.5"},
    {"9007199254740993", "200 application/json|9007199254740993"},
    {"'made', 201", "201 text/plain|made"},
    {"{ a = 1 }, 201", "201 application/json|{\"a\":1}"},
    {"false, 400", "400 application/json|false"},
    {"'x', nil", "200 text/plain|x"},
    {"'x', 201, 'more', 7", "201 text/plain|x"},
    {"'x', 202.0", "202 text/plain|x"},
    {"nil, 404", "404 |"},
    {"nil, 200", "200 |"},
    {"'gone', 204", "204 |"},
    {"{ a = 1 }, 304", "304 |"},
    {"'\\xff'", "200 text/plain|\xff"},
    {"{ '\\xff' }", "200 application/json|[\"\xef\xbf\xbd\"]"},
    {"api.json { a = 1 }", "200 application/json|{\"a\":1}"},
    {"api.json({ a = 1 }, 201)", "201 application/json|{\"a\":1}"},
    {"api.json('text')", "200 application/json|\"text\""},
    {"api.json(nil)", "200 application/json|null"},
    {"api.json({ a = 1 }, 204)", "204 |"},
    {"api.json '\\xff\\xfe'", "200 application/json|\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"api.text 'x'", "200 text/plain|x"},
    {"api.text(5)", "200 text/plain|5"},
    {"api.text('x', 418)", "418 text/plain|x"},
    {"api.html '<p>'", "200 text/html|<p>"},
    {"api.html('<p>', 500)", "500 text/html|<p>"},
    {"api.status(404)", "404 |"},
    {"api.status(204)", "204 |"},
    {"api.redirect '/x'", "302 |"},
    {"api.redirect('/x', 301)", "301 |"},
    {"api.text('x'):status(201)", "201 text/plain|x"},
    {"api.text('x'):status(201):status(202):header('a', 'b'):cookie('a', 'b')", "202 text/plain|x"},
    {"api.text('x', 201):status()", "200 application/json|201"},
    {"api.text('x'):status(204)", "204 |"},
    {"api.status(204):status(404)", "404 |"},
    {"api.json { a = 1 }, 201", "201 application/json|{\"a\":1}"},
    {"api.json { a = 1 }, 204", "204 |"},
    {"api.text('x', 204), 200", "200 text/plain|x"},
    {"api.error(401, 'no')",
     "401 application/json|{\"error\":\"no\",\"status\":401,\"request_id\":\"req-1\"}"},
    {"api.error(400, 'bad', { name = 'is missing' })",
     "400 "
     "application/json|{\"error\":\"bad\",\"status\":400,\"request_id\":\"req-1\",\"fields\":{\"name\":\"is "
     "missing\"}}"},
    {"api.error(400, 'bad'):status(409)",
     "409 application/json|{\"error\":\"bad\",\"status\":409,\"request_id\":\"req-1\"}"},
    {"api.error(400, 'bad'), 409",
     "409 application/json|{\"error\":\"bad\",\"status\":409,\"request_id\":\"req-1\"}"},
    {"api.error(404)",
     "404 application/json|{\"error\":\"Not Found\",\"status\":404,\"request_id\":\"req-1\"}"},
    {"api.error(404, nil, { a = 1 })",
     "404 application/json|{\"error\":\"Not "
     "Found\",\"status\":404,\"request_id\":\"req-1\",\"fields\":{\"a\":1}}"},
    {"api.error(404):status(409)",
     "409 application/json|{\"error\":\"Conflict\",\"status\":409,\"request_id\":\"req-1\"}"},
    {"api.error(599)", "599 application/json|{\"error\":\"Error\",\"status\":599,\"request_id\":\"req-1\"}"},
    {"api.error(400, 'a \"\\xff\"')",
     "400 application/json|{\"error\":\"a \\\"\xef\xbf\xbd\\\"\",\"status\":400,\"request_id\":\"req-1\"}"},
};

enum { RETURNS = sizeof(returns) / sizeof(returns[0]) };

START_TEST(values_become_the_answer_that_the_manual_says)
{
    check_answer(returns[_i].what, returns[_i].answer);
}
END_TEST

/* What is refused, and a part of the text in the log. */
static const answer_case refusals[] = {
    {"function() end", "function"},
    {"coroutine.create(print)", "thread"},
    {"io.stdout", "userdata"},
    {"{ print }", "json: cannot encode a function"},
    {"{ a = { 0/0 } }", "NaN at .a[1]"},
    {"{ 1, nil, 3 }", "json: cannot encode"},
    {"{ 1, a = 2 }", "json: cannot encode"},
    {"(function() local t = {} t[1] = t return t end)()", "json: cannot encode"},
    {"'x', 99", "a status is a whole number from 200 to 599, not 99"},
    {"'x', 199", "a status is a whole number"},
    {"'x', 600", "a status is a whole number"},
    {"'x', 200.5", "a status is a whole number"},
    {"'x', 'OK'", "a status is a whole number from 200 to 599, not OK"},
    {"'x', {}", "a status is a whole number"},
    {"nil, -1", "a status is a whole number"},
    {"api.text('x'), 1000", "a status is a whole number"},
    {"api.json()", "value expected"},
    {"api.json({}, 'x')", "a status is a whole number"},
    {"api.text()", "string expected"},
    {"api.text({})", "string expected"},
    {"api.html(nil)", "string expected"},
    {"api.status()", "a status is a whole number"},
    {"api.status(100)", "a status is a whole number"},
    {"api.status(1 << 40)", "a status is a whole number"},
    {"api.error()", "a status is a whole number"},
    {"api.error(200, 'x')", "an error has a status from 400 to 599"},
    {"api.error(400, {})", "string expected"},
    {"api.error(400, 'x', 'y')", "table expected"},
    {"api.redirect()", "string expected"},
    {"api.redirect('')", "empty or holds a control character"},
    {"api.redirect('/a\\r\\nSet-Cookie: a=b')", "empty or holds a control character"},
    {"api.redirect('/x', 200)", "from 300 to 399"},
    {"api.text('x'):status(7)", "a status is a whole number"},
    {"api.text('x').header('a', 'b')", "reply expected"},
    {"api.text('x'):nope()", "'nope'"},
    {"api.text('x') .. 'y'", "concatenate"},
    {"setmetatable(api.text('x'), {})", "table expected"},
    {"api.jsn {}", "did you mean \"json\"?"},
};

enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(bad_values_are_a_500_that_the_log_explains)
{
    char app[512];
    const answer_case *one = &refusals[_i];
    snprintf(app, sizeof(app), "function api.get(ctx)\n  return %s end", one->what);
    open_app(app);
    const char *got = fixture_get(&fx, "GET /");
    ck_assert_msg(strncmp(got, "500 application/json|{", 22) == 0, "return %s: %s", one->what, got);
    ck_assert_contains(fixture_logged(&fx), one->answer);
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(answer_of_a_failed_encoding_holds_nothing_of_the_first_try)
{
    call c;
    open_app("function api.get() return api.json({ ('x'):rep(10000), 0/0 }):header('X-A', 'b') end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.request->status, 500);
    ck_assert_int_eq(call_body(&c)[0], '{');
    ck_assert_lacks(call_body(&c), "xxx");
    ck_assert_ptr_null(call_header(&c, "X-A", 0));
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(error_replies_carry_the_requests_own_id)
{
    open_app("local kept = api.error(403, 'no') function api.get() return kept end");
    ck_assert_contains(fixture_ask(&fx, &(ask){.route = "GET /", .id = "first"}), "\"request_id\":\"first\"");
    ck_assert_contains(fixture_ask(&fx, &(ask){.route = "GET /", .id = "second"}),
                       "\"request_id\":\"second\"");
    close_app();
}
END_TEST

/* --- headers --- */

START_TEST(headers_are_set_replaced_and_keep_their_order)
{
    call c;
    open_app("function api.get()\n"
             "  return api.text('x'):header('X-A', '1'):header('X-B', '2'):header('x-a', 3):header('X-C', "
             "'\\t\\xff')\n"
             "end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    static const char want[] = "x-a\0003\0X-B\0002\0X-C\0\t\xff";
    ck_assert_uint_eq(c.head_out.n, sizeof(want));
    ck_assert_mem_eq(c.head_out.p, want, sizeof(want));
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(set_cookie_appends)
{
    call c;
    open_app(
        "function api.get()\n"
        "  return api.text('x'):header('Set-Cookie', 'a=1'):header('set-cookie', 'b=2'):cookie('c', '3')\n"
        "end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_str_eq(call_header(&c, "Set-Cookie", 0), "a=1");
    ck_assert_str_eq(call_header(&c, "Set-Cookie", 1), "b=2");
    ck_assert_str_eq(call_header(&c, "Set-Cookie", 2), "c=3");
    ck_assert_ptr_null(call_header(&c, "Set-Cookie", 3));
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(content_type_of_the_reply_takes_the_place_of_ours)
{
    call c;
    open_app("function api.get() return api.text('a,b'):header('content-TYPE', 'text/csv') end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_ptr_null(c.request->content_type);
    ck_assert_str_eq(call_header(&c, "Content-Type", 0), "text/csv");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(redirect_sets_the_location)
{
    call c;
    open_app("function api.get() return api.redirect('/caf\\xc3\\xa9?a=b c', 308):header('X-A', 'b') end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.request->status, 308);
    ck_assert_str_eq(call_header(&c, "Location", 0), "/caf\xc3\xa9?a=b c");
    ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
    ck_assert_ptr_null(c.request->content_type);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(empty_replies_have_headers_too)
{
    call c;
    open_app("function api.get() return api.status(204):header('X-A', 'b') end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
    ck_assert_uint_eq(c.body_out.n, 0);
    call_end(&fx, &c);
    close_app();
}
END_TEST

static const answer_case bad_headers[] = {
    {"'Content-Length', '5'", "the header Content-Length is set by the server alone"},
    {"'content-length', '5'", "the header content-length is set by the server alone"},
    {"'Transfer-Encoding', 'chunked'", "is set by the server alone"},
    {"'CONNECTION', 'close'", "is set by the server alone"},
    {"'', 'x'", "is no name for a header"},
    {"'a b', 'x'", "is no name for a header"},
    {"'a:', 'x'", "is no name for a header"},
    {"'a\\r\\nb', 'x'", "is no name for a header"},
    {"'a\\0', 'x'", "is no name for a header"},
    {"'caf\\xc3\\xa9', 'x'", "is no name for a header"},
    {"'X-A', 'a\\rb'", "the value of the header X-A holds a control character"},
    {"'X-A', 'a\\nb'", "holds a control character"},
    {"'X-A', 'a\\r\\nSet-Cookie: b'", "holds a control character"},
    {"'X-A', 'a\\0b'", "holds a control character"},
    {"'X-A', '\\27'", "holds a control character"},
    {"'X-A', '\\127'", "holds a control character"},
    {"'Set-Cookie', 'a=b\\n'", "holds a control character"},
    {"'X-A'", "string expected"},
    {"'X-A', nil", "string expected"},
    {"'X-A', {}", "string expected"},
    {"nil, 'x'", "string expected"},
    {"", "string expected"},
};

enum { BAD_HEADERS = sizeof(bad_headers) / sizeof(bad_headers[0]) };

START_TEST(bad_headers_are_refused_and_leave_the_reply_as_it_was)
{
    char app[512];
    call c;
    snprintf(app, sizeof(app),
             "function api.get() return api.text('x'):header(%s) end\n"
             "function api.caught.get() local r = api.text 'x' pcall(r.header, r, %s) return r end",
             bad_headers[_i].what, *bad_headers[_i].what ? bad_headers[_i].what : "nil");
    open_app(app);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), bad_headers[_i].answer);
    call_run(&fx, &c, &(ask){.route = "GET /caught"});
    ck_assert_int_eq(c.request->status, 200);
    ck_assert_uint_eq(c.head_out.n, 0);
    call_end(&fx, &c);
    close_app();
}
END_TEST

/* --- cookies --- */

static const answer_case cookies[] = {
    {"'a', 'b'", "a=b"},
    {"'a', ''", "a="},
    {"'a', 5", "a=5"},
    {"'a', 'b', nil", "a=b"},
    {"'a', 'b', {}", "a=b"},
    {"'a', 'b', { path = '/', domain = 'example.com', max_age = 60, secure = true, http_only = true }",
     "Path=/|Domain=example.com|Max-Age=60|Secure|HttpOnly"},
    {"'a', 'b', { expires = 0 }", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"},
    {"'a', 'b', { max_age = 60.0 }", "Max-Age=60"},
    {"'a', 'b', { same_site = 'lax' }", "SameSite=Lax"},
    {"'a', 'b', { same_site = 'Strict' }", "SameSite=Strict"},
    {"'a', 'b', { same_site = 'none', secure = true }", "SameSite=None|Secure"},
    {"'a', 'b', { partitioned = true, secure = true }", "Partitioned|Secure"},
    {"'a', 'b', { secure = false }", "a=b"},
};

enum { COOKIES = sizeof(cookies) / sizeof(cookies[0]) };

START_TEST(cookies_are_set_with_their_options)
{
    char app[512], wanted[256];
    call c;
    snprintf(app, sizeof(app), "function api.get() return api.text('x'):cookie(%s) end", cookies[_i].what);
    open_app(app);
    call_run(&fx, &c, &(ask){.route = "GET /"});
    const char *got = call_header(&c, "Set-Cookie", 0);
    ck_assert_msg(got != NULL, "cookie(%s): %s", cookies[_i].what, fixture_logged(&fx));
    snprintf(wanted, sizeof(wanted), "%s", cookies[_i].answer);
    for (char *part = strtok(wanted, "|"); part; part = strtok(NULL, "|"))
        ck_assert_contains(got, part);
    call_end(&fx, &c);
    close_app();
}
END_TEST

static const answer_case bad_cookies[] = {
    {"'a'", "string expected"},
    {"'a b', 'c'", "the cookie \"a b\": name"},
    {"'', 'c'", "the cookie \"\": name"},
    {"'a', 'b;c'", "the cookie \"a\": value"},
    {"'a', 'b\\r\\nX: y'", "the cookie \"a\": value"},
    {"'a', 'b', 'secure'", "table expected"},
    {"'a', 'b', { httponly = true }", "no cookie option is called \"httponly\""},
    {"'a', 'b', { 'secure' }", "no cookie option is called"},
    {"'a', 'b', { path = 'x' }", "path"},
    {"'a', 'b', { path = 1 }", "the cookie option path is a string"},
    {"'a', 'b', { path = '/\\r\\n' }", "path"},
    {"'a', 'b', { max_age = 'soon' }", "the cookie option max_age is a whole number"},
    {"'a', 'b', { max_age = 1.5 }", "the cookie option max_age is a whole number"},
    {"'a', 'b', { same_site = 'maybe' }", "same_site is \"lax\", \"strict\" or \"none\""},
    {"'a', 'b', { same_site = true }", "the cookie option same_site is a string"},
    {"'a', 'b', { same_site = 'none' }", "the cookie \"a\""},
    {"'__Host-a', 'b'", "the cookie \"__Host-a\""},
};

enum { BAD_COOKIES = sizeof(bad_cookies) / sizeof(bad_cookies[0]) };

START_TEST(bad_cookies_are_refused)
{
    char app[512];
    snprintf(app, sizeof(app), "function api.get() return api.text('x'):cookie(%s) end",
             bad_cookies[_i].what);
    open_app(app);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), bad_cookies[_i].answer);
    close_app();
}
END_TEST

/* --- raised replies --- */

static const char *const depths[] = {
    "error(no)",
    "local function f(n) if n == 0 then error(no) end f(n - 1) return 1 end f(100)",
    "error(no, 2)",
    "coroutine.wrap(function() error(no) end)()",
    "coroutine.wrap(function() coroutine.wrap(function() sleep(1) error(no) end)() end)()",
    "sleep(1) error(no)",
    "table.sort({ 2, 1 }, function() error(no) end)",
    "(('x'):gsub('x', function() error(no) end))",
    "local t = setmetatable({}, { __index = function() error(no) end }) return t.x",
    "local x <close> = setmetatable({}, { __close = function() end }) error(no)",
    "local x <close> = setmetatable({}, { __close = function() error(no) end })",
    "local ok, e = pcall(error, no) error(e)",
    "assert(false, no)",
    "load('error(...)')(no)",
    "for _ in function() error(no) end do end",
};

enum { DEPTHS = sizeof(depths) / sizeof(depths[0]) };

/* The statement in a handler, with hooks that look at replies and without. */
START_TEST(raised_reply_ends_the_request_from_any_depth)
{
    char app[1024];
    call c;
    const char *text = depths[_i % DEPTHS];
    if (text[0] == '(')
        snprintf(app, sizeof(app), "local x = %s", text);
    else
        snprintf(app, sizeof(app), "%s", text);
    char whole[2048];
    snprintf(whole, sizeof(whole),
             "%sfunction api.get(ctx)\n"
             "  local no = api.error(403, 'no'):header('X-A', 'b')\n"
             "  do %s end\n"
             "end",
             _i < DEPTHS ? "" : "function api.after() end function api.on_error() return 'asked' end\n", app);
    open_app(whole);
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_msg(c.request->status == 403, "%s: %d\n%s", text, c.request->status, fixture_logged(&fx));
    ck_assert_str_eq(call_body(&c), "{\"error\":\"no\",\"status\":403,\"request_id\":\"req-1\"}");
    ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
    ck_assert(!c.request->failed);
    call_end(&fx, &c);
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

START_TEST(any_reply_may_be_raised)
{
    open_app("function api.a.get() error(api.json({ a = 1 }, 201)) end\n"
             "function api.b.get() error(api.redirect('/x')) end\n"
             "function api.c.get() error(api.text('x'):status(200)) end");
    ck_assert_str_eq(fixture_get(&fx, "GET /a"), "201 application/json|{\"a\":1}");
    ck_assert_str_eq(fixture_get(&fx, "GET /b"), "302 |");
    ck_assert_str_eq(fixture_get(&fx, "GET /c"), "200 text/plain|x");
    close_app();
}
END_TEST

START_TEST(caught_reply_is_a_value_like_any_other)
{
    open_app(
        "function api.get() local ok, r = pcall(error, api.text 'x') return { ok, type(r), r:status() } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[false,\"userdata\",200]");
    close_app();
}
END_TEST

/* --- kept replies --- */

START_TEST(reply_kept_at_load_is_returned_as_often_as_one_likes)
{
    call c;
    open_app("local kept = api.json({ a = 1 }, 201):header('X-A', 'b'):cookie('c', 'd')\n"
             "function api.get() return kept end\n"
             "function api.raised.get() error(kept) end");
    for (int i = 0; i < 4; i++) {
        call_run(&fx, &c, &(ask){.route = i % 2 ? "GET /raised" : "GET /"});
        ck_assert_int_eq(c.request->status, 201);
        ck_assert_str_eq(call_body(&c), "{\"a\":1}");
        ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
        ck_assert_str_eq(call_header(&c, "Set-Cookie", 0), "c=d");
        ck_assert_ptr_null(call_header(&c, "Set-Cookie", 1));
        call_end(&fx, &c);
    }
    close_app();
}
END_TEST

static const char *const changes[] = {":status(500)", ":header('X-User', 'ann')", ":cookie('user', 'ann')"};

START_TEST(reply_kept_at_load_cannot_be_changed_in_a_request)
{
    char app[512];
    call c;
    snprintf(app, sizeof(app),
             "local kept = api.text 'x'\n"
             "function api.get() return kept%s end\n"
             "function api.kept.get() return kept end",
             changes[_i]);
    open_app(app);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "this reply was not made in this request");
    call_run(&fx, &c, &(ask){.route = "GET /kept"});
    ck_assert_int_eq(c.request->status, 200);
    ck_assert_uint_eq(c.head_out.n, 0);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(reply_of_an_earlier_request_cannot_be_changed_in_a_later)
{
    char app[512];
    snprintf(app, sizeof(app),
             "local kept\n"
             "function api.make.get() kept = api.text 'x' return kept end\n"
             "function api.get() return kept%s end\n"
             "function api.kept.get() return kept end",
             changes[_i]);
    open_app(app);
    ck_assert_str_eq(fixture_get(&fx, "GET /make"), "200 text/plain|x");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "this reply was not made in this request");
    ck_assert_str_eq(fixture_get(&fx, "GET /kept"), "200 text/plain|x");
    close_app();
}
END_TEST

START_TEST(reply_of_another_request_in_flight_cannot_be_changed)
{
    call c;
    open_app("local theirs\n"
             "function api.wait.get() theirs = api.text 'x' sleep(1) return theirs:header('X-A', 'b') end\n"
             "function api.get() return theirs:header('X-User', 'ann') end");
    call_begin(&fx, &c, &(ask){.route = "GET /wait"});
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    call_resume(&fx, &c);
    ck_assert_int_eq(c.request->status, 200);
    ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
    ck_assert_ptr_null(call_header(&c, "X-User", 0));
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(own_reply_can_be_changed_across_waits_and_coroutines)
{
    open_app("function api.get()\n"
             "  local r = api.text 'x'\n"
             "  sleep(1)\n"
             "  coroutine.wrap(function() r:status(201) sleep(1) r:header('X-A', 'b') end)()\n"
             "  return r\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "201 text/plain|x");
    close_app();
}
END_TEST

/* --- hooks --- */

START_TEST(hooks_get_a_copy_of_a_kept_reply)
{
    call c;
    open_app("local kept = api.json({ a = 1 }, 201):header('X-A', 'b')\n"
             "function api.a.after(ctx, reply)\n"
             "  if reply == kept then return 'the same' end\n"
             "  return reply:status(202):header('X-A', 'c'):header('X-User', ctx.id):cookie('u', ctx.id)\n"
             "end\n"
             "function api.a.get() return kept end\n"
             "function api.a.raised.get() error(kept) end\n"
             "function api.kept.get() return kept end");
    for (int i = 0; i < 4; i++) {
        call_run(&fx, &c, &(ask){.route = i % 2 ? "GET /a/raised" : "GET /a"});
        ck_assert_int_eq(c.request->status, 202);
        ck_assert_str_eq(call_header(&c, "X-A", 0), "c");
        ck_assert_str_eq(call_header(&c, "X-User", 0), "req-1");
        ck_assert_ptr_null(call_header(&c, "Set-Cookie", 1));
        call_end(&fx, &c);
        call_run(&fx, &c, &(ask){.route = "GET /kept"});
        ck_assert_int_eq(c.request->status, 201);
        ck_assert_str_eq(call_body(&c), "{\"a\":1}");
        ck_assert_str_eq(call_header(&c, "X-A", 0), "b");
        ck_assert_ptr_null(call_header(&c, "X-User", 0));
        ck_assert_ptr_null(call_header(&c, "Set-Cookie", 0));
        call_end(&fx, &c);
    }
    close_app();
}
END_TEST

START_TEST(copy_of_an_error_keeps_message_and_fields)
{
    open_app("local kept = api.error(422, 'bad', { name = 'short' })\n"
             "function api.after(ctx, reply) return reply:header('X-A', 'b') end\n"
             "function api.get() return kept end");
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(
            fixture_get(&fx, "GET /"),
            "422 application/json|{\"error\":\"bad\",\"status\":422,\"request_id\":\"req-1\",\"fields\":"
            "{\"name\":\"short\"}}");
    close_app();
}
END_TEST

START_TEST(after_hook_sees_plain_values_as_replies)
{
    call c;
    open_app("function api.after(ctx, reply) return reply:header('X-Status', tostring(reply:status())) end\n"
             "function api.get() return { a = 1 }, 201 end\n"
             "function api.none.get() end");
    call_run(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_str_eq(call_header(&c, "X-Status", 0), "201");
    ck_assert_str_eq(call_body(&c), "{\"a\":1}");
    call_end(&fx, &c);
    call_run(&fx, &c, &(ask){.route = "GET /none"});
    ck_assert_int_eq(c.request->status, 204);
    ck_assert_str_eq(call_header(&c, "X-Status", 0), "204");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(before_hook_that_replies_ends_the_request)
{
    open_app("function api.before(ctx) if ctx.path == '/no' then return api.error(403, 'no') end end\n"
             "function api.get() return 'handled' end");
    ck_assert_str_eq(fixture_ask(&fx, &(ask){.route = "GET /", .path = "/yes"}), "200 text/plain|handled");
    ck_assert_contains(fixture_ask(&fx, &(ask){.route = "GET /", .path = "/no"}), "403 application/json|");
    close_app();
}
END_TEST

START_TEST(on_error_hook_answers_for_errors)
{
    open_app("function api.on_error(ctx, err, traceback)\n"
             "  return api.error(503, err.code .. ctx.id .. type(traceback))\n"
             "end\n"
             "function api.get() sleep(1) error { code = 'E' } end");
    ck_assert_str_eq(
        fixture_get(&fx, "GET /"),
        "503 application/json|{\"error\":\"Ereq-1string\",\"status\":503,\"request_id\":\"req-1\"}");
    close_app();
}
END_TEST

START_TEST(error_that_no_hook_answers_is_a_500_with_its_own_traceback)
{
    open_app("function api.on_error() end\n"
             "local function deep() error 'no luck' end\n"
             "function api.get() deep() return 1 end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 application/json|");
    ck_assert_contains(fixture_logged(&fx), "0 [req-1] GET /: ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2: no luck");
    ck_assert_contains(fixture_logged(&fx), "app.lua:3:");
    close_app();
}
END_TEST

START_TEST(on_error_hook_that_fails_is_logged_and_the_next_is_asked)
{
    open_app("function api.on_error() return api.status(503) end\n"
             "function api.a.on_error() error 'worse' end\n"
             "function api.a.get() error 'bad' end");
    ck_assert_str_eq(fixture_get(&fx, "GET /a"), "503 |");
    ck_assert_contains(fixture_logged(&fx), "on_error hook failed: ");
    ck_assert_contains(fixture_logged(&fx), "worse");
    close_app();
}
END_TEST

static Suite *reply_suite(void)
{
    const TTest *const plain[] = {
        answer_of_a_failed_encoding_holds_nothing_of_the_first_try,
        error_replies_carry_the_requests_own_id,
        headers_are_set_replaced_and_keep_their_order,
        set_cookie_appends,
        content_type_of_the_reply_takes_the_place_of_ours,
        redirect_sets_the_location,
        empty_replies_have_headers_too,
        any_reply_may_be_raised,
        caught_reply_is_a_value_like_any_other,
        reply_kept_at_load_is_returned_as_often_as_one_likes,
        reply_of_another_request_in_flight_cannot_be_changed,
        own_reply_can_be_changed_across_waits_and_coroutines,
        hooks_get_a_copy_of_a_kept_reply,
        copy_of_an_error_keeps_message_and_fields,
        after_hook_sees_plain_values_as_replies,
        before_hook_that_replies_ends_the_request,
        on_error_hook_answers_for_errors,
        error_that_no_hook_answers_is_a_500_with_its_own_traceback,
        on_error_hook_that_fails_is_logged_and_the_next_is_asked,
    };
    Suite *s = suite_create("reply");
    TCase *tc = tcase_create("replies");
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        tcase_add_test(tc, plain[i]);
    tcase_add_loop_test(tc, values_become_the_answer_that_the_manual_says, 0, RETURNS);
    tcase_add_loop_test(tc, bad_values_are_a_500_that_the_log_explains, 0, REFUSALS);
    tcase_add_loop_test(tc, bad_headers_are_refused_and_leave_the_reply_as_it_was, 0, BAD_HEADERS);
    tcase_add_loop_test(tc, cookies_are_set_with_their_options, 0, COOKIES);
    tcase_add_loop_test(tc, bad_cookies_are_refused, 0, BAD_COOKIES);
    tcase_add_loop_test(tc, raised_reply_ends_the_request_from_any_depth, 0, 2 * DEPTHS);
    tcase_add_loop_test(tc, reply_kept_at_load_cannot_be_changed_in_a_request, 0, 3);
    tcase_add_loop_test(tc, reply_of_an_earlier_request_cannot_be_changed_in_a_later, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(reply_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
