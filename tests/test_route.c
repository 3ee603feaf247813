#include "runtime/route.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/route_pattern.h"

static route_tree *tree;
static route_matched got;
static char error[256];

static void setup(void)
{
    tree = route_tree_new();
    ck_assert_ptr_nonnull(tree);
    error[0] = '\0';
}

static void teardown(void)
{
    route_tree_free(tree);
}

static const route *define_at(const char *where, enum http_method method, const char *pattern)
{
    const route *r = NULL;
    int err = route_pattern_add(tree, method, str_from(pattern), str_from(where), &r, error, sizeof error);
    ck_assert_msg(err == 0, "%s", error);
    return r;
}

static const route *define(enum http_method method, const char *pattern)
{
    return define_at("app.lua:1", method, pattern);
}

static void refuses(const char *where, const char *pattern, int want, const char *message)
{
    const route *untouched = NULL;
    size_t before = route_tree_count(tree);
    int err = route_pattern_add(tree, METHOD_GET, str_from(pattern), str_from(where), &untouched, error,
                                sizeof error);
    ck_assert_int_eq(err, want);
    ck_assert_str_eq(error, message);
    ck_assert_ptr_null(untouched);
    ck_assert_uint_eq(route_tree_count(tree), before);
}

static enum route_result match(enum http_method method, const char *path)
{
    return route_match(tree, method, str_from(path), &got);
}

static void finds(enum http_method method, const char *path, const route *want)
{
    ck_assert_msg(match(method, path) == ROUTE_FOUND, "%s is not found", path);
    ck_assert_ptr_eq(got.route, want);
    ck_assert_uint_eq(got.allowed, 0);
}

static void finds_none(const char *path)
{
    ck_assert_msg(match(METHOD_GET, path) == ROUTE_NOT_FOUND, "%s is found", path);
    ck_assert_ptr_null(got.route);
    ck_assert_uint_eq(got.allowed, 0);
}

static void value_is(size_t i, const char *want)
{
    ck_assert_uint_lt(i, got.route->nparams);
    ck_assert_msg(str_eq(got.values[i], str_from(want)), "%.*s is not %s", (int)got.values[i].n,
                  got.values[i].p, want);
}

/* ---- definition ---- */

START_TEST(routes_are_listed_in_order_of_definition)
{
    const route *first = define_at("app.lua:7", METHOD_POST, "/users/:id/posts");
    const route *second = define(METHOD_GET, "/");
    ck_assert_uint_eq(route_tree_count(tree), 2);
    ck_assert_ptr_eq(route_tree_at(tree, 0), first);
    ck_assert_ptr_eq(route_tree_at(tree, 1), second);
    ck_assert_ptr_null(route_tree_at(tree, 2));
    ck_assert_uint_eq(second->index, 1);
    ck_assert_int_eq(first->method, METHOD_POST);
    ck_assert_str_eq(first->pattern, "/users/:id/posts");
    ck_assert_str_eq(first->where, "app.lua:7");
    ck_assert_uint_eq(first->nparams, 1);
    ck_assert_str_eq(first->params[0].p, "id");
    ck_assert_uint_eq(first->params[0].n, 2);
}
END_TEST

START_TEST(tree_copies_what_it_is_given)
{
    char pattern[] = "/a/:b";
    char where[] = "x:1";
    const route *r = NULL;
    ck_assert_int_eq(route_pattern_add(tree, METHOD_GET, str_from(pattern), str_from(where), &r, NULL, 0), 0);
    memset(pattern, '?', sizeof pattern);
    memset(where, '?', sizeof where);
    ck_assert_str_eq(r->pattern, "/a/:b");
    ck_assert_str_eq(r->where, "x:1");
    finds(METHOD_GET, "/a/1", r);
}
END_TEST

START_TEST(segments_and_pattern_are_two_ways_to_say_one_thing)
{
    const route_segment segments[] = {
        {ROUTE_LITERAL, STR("users")}, {ROUTE_PARAM, STR("id")}, {ROUTE_REST, STR("rest")}};
    const route *r = NULL;
    ck_assert_int_eq(route_add(tree, METHOD_GET, segments, 3, STR("app.lua:3"), &r, error, sizeof error), 0);
    ck_assert_str_eq(r->pattern, "/users/:id/*rest");
    refuses("app.lua:9", "/users/:id/*rest", -EEXIST,
            "app.lua:9: GET /users/:id/*rest is already defined (app.lua:3)");
}
END_TEST

START_TEST(no_segments_are_the_root)
{
    const route *r = NULL;
    ck_assert_int_eq(route_add(tree, METHOD_GET, NULL, 0, STR("a:1"), &r, error, sizeof error), 0);
    ck_assert_str_eq(r->pattern, "/");
    finds(METHOD_GET, "/", r);
    refuses("a:2", "/", -EEXIST, "a:2: GET / is already defined (a:1)");
}
END_TEST

START_TEST(pattern_shows_special_bytes_escaped_and_reads_them_back)
{
    const route_segment segments[] = {{ROUTE_LITERAL, STR(":id")},
                                      {ROUTE_LITERAL, STR("*")},
                                      {ROUTE_LITERAL, STR("a/b c%\n")},
                                      {ROUTE_LITERAL, STR("x:y*z")}};
    const route *r = NULL;
    ck_assert_int_eq(route_add(tree, METHOD_GET, segments, 4, STR("a:1"), &r, error, sizeof error), 0);
    ck_assert_str_eq(r->pattern, "/%3Aid/%2A/a%2Fb%20c%25%0A/x:y*z");
    finds(METHOD_GET, "/:id/*/a%2fb%20c%25%0a/x:y*z", r);
    refuses("a:2", r->pattern, -EEXIST, "a:2: GET /%3Aid/%2A/a%2Fb%20c%25%0A/x:y*z is already defined (a:1)");
}
END_TEST

START_TEST(same_route_twice_names_both_places)
{
    define_at("app.lua:4", METHOD_GET, "/users/:id");
    define_at("app.lua:5", METHOD_POST, "/users/:id");
    refuses("app.lua:9", "/users/:id", -EEXIST, "app.lua:9: GET /users/:id is already defined (app.lua:4)");
}
END_TEST

START_TEST(two_names_at_one_place_name_both_places)
{
    define_at("app.lua:3", METHOD_POST, "/users/:uid/posts");
    refuses("app.lua:12", "/users/:id", -EINVAL,
            "app.lua:12: GET /users/:id: parameter :id, but app.lua:3 calls it :uid (/users/:uid/posts)");
    define_at("app.lua:4", METHOD_GET, "/users/*rest");
    refuses("app.lua:13", "/users/*all", -EINVAL,
            "app.lua:13: GET /users/*all: parameter *all, but app.lua:4 calls it *rest (/users/*rest)");
}
END_TEST

START_TEST(places_may_be_unknown)
{
    define_at("", METHOD_GET, "/:a");
    refuses("", "/:a", -EEXIST, "GET /:a is already defined (another route)");
}
END_TEST

START_TEST(one_place_may_have_a_parameter_and_a_rest)
{
    const route *param = define(METHOD_GET, "/x/:a");
    const route *rest = define(METHOD_GET, "/x/*b");
    finds(METHOD_GET, "/x/1", param);
    finds(METHOD_GET, "/x/1/2", rest);
}
END_TEST

START_TEST(bad_names_are_refused)
{
    refuses("a:1", "/users/:", -EINVAL, "a:1: GET /users/: has an empty parameter name");
    refuses("a:1", "/files/*", -EINVAL, "a:1: GET /files/* has an empty parameter name");
    refuses("a:1", "/:a.json", -EINVAL,
            "a:1: GET /:a.json: a parameter name is made of letters, digits, _ and -, \"a.json\" is not");
    refuses("a:1", "/:a/b/:a", -EINVAL, "a:1: GET /:a/b/:a has two parameters called a");
    refuses("a:1", "/:a/*a", -EINVAL, "a:1: GET /:a/*a has two parameters called a");
    define(METHOD_GET, "/:a-1_\xc3\xa9");
}
END_TEST

START_TEST(rest_must_be_last)
{
    refuses("a:1", "/*path/edit", -EINVAL,
            "a:1: GET /*path/edit: *path takes the rest of the path and must be last");
}
END_TEST

START_TEST(nul_in_a_literal_is_refused)
{
    const route_segment nul = {ROUTE_LITERAL, STR("a\0b")};
    ck_assert_int_eq(route_add(tree, METHOD_GET, &nul, 1, STR("a:1"), NULL, error, sizeof error), -EINVAL);
    ck_assert_uint_eq(route_tree_count(tree), 0);
}
END_TEST

START_TEST(as_many_parameters_as_allowed_and_no_more)
{
    char pattern[256] = "";
    for (int i = 0; i < ROUTE_MAX_PARAMS; i++)
        snprintf(pattern + strlen(pattern), 16, "/:p%d", i);
    const route *r = define(METHOD_GET, pattern);
    finds(METHOD_GET, "/0/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15", r);
    value_is(0, "0");
    value_is(15, "15");
    strcat(pattern, "/:last");
    ck_assert_int_eq(
        route_pattern_add(tree, METHOD_GET, str_from(pattern), STR("a:1"), NULL, error, sizeof error),
        -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "17 parameters, at most 16"));
}
END_TEST

START_TEST(as_many_segments_as_allowed_and_no_more)
{
    char path[512] = "";
    for (int i = 0; i < ROUTE_MAX_SEGMENTS; i++)
        strcat(path, "/a");
    const route *r = define(METHOD_GET, path);
    finds(METHOD_GET, path, r);
    strcat(path, "/a");
    finds_none(path);
    refuses("a:1", path, -EINVAL, "a:1: a route can have 64 segments at most");
    for (int i = 0; i < 100; i++)
        strcat(path, "/a");
    refuses("a:1", path, -EINVAL, "a:1: a route can have 64 segments at most");
    finds_none(path);
}
END_TEST

START_TEST(failed_definition_leaves_no_trace)
{
    define(METHOD_GET, "/a/:x/b");
    refuses("a:2", "/a/:y/c", -EINVAL, "a:2: GET /a/:y/c: parameter :y, but app.lua:1 calls it :x (/a/:x/b)");
    refuses("a:3", "/new/:q/:q", -EINVAL, "a:3: GET /new/:q/:q has two parameters called q");
    finds_none("/a/1/c");
    finds_none("/new/1/2");
    const route *r = define(METHOD_GET, "/new/:other/:one");
    finds(METHOD_GET, "/new/1/2", r);
}
END_TEST

START_TEST(error_text_is_cut_to_its_room)
{
    char small[10];
    ck_assert_int_eq(route_pattern_add(tree, METHOD_GET, STR("/:"), STR("a:1"), NULL, small, sizeof small),
                     -EINVAL);
    ck_assert_str_eq(small, "a:1: GET ");
    char tiny[3];
    ck_assert_int_eq(route_pattern_add(tree, METHOD_GET, STR("/:"), STR("a:1"), NULL, tiny, sizeof tiny),
                     -EINVAL);
    ck_assert_str_eq(tiny, "a:");
    ck_assert_int_eq(route_pattern_add(tree, METHOD_GET, STR("/:"), STR("a:1"), NULL, NULL, 0), -EINVAL);
}
END_TEST

START_TEST(free_of_null_is_fine)
{
    route_tree_free(NULL);
}
END_TEST

/* ---- matching ---- */

START_TEST(empty_tree_finds_nothing)
{
    finds_none("/");
    finds_none("/a/b/c");
}
END_TEST

START_TEST(literals_match_byte_for_byte)
{
    const route *echo = define(METHOD_GET, "/echo");
    finds(METHOD_GET, "/echo", echo);
    finds_none("/Echo");
    finds_none("/ech");
    finds_none("/echoo");
    finds_none("/");
    finds_none("/echo/x");
}
END_TEST

START_TEST(parameter_takes_one_segment_raw)
{
    const route *r = define(METHOD_GET, "/users/:id/posts");
    finds(METHOD_GET, "/users/4%32/posts", r);
    value_is(0, "4%32");
    finds_none("/users/4/2/posts");
    finds_none("/users/posts");
}
END_TEST

START_TEST(parameter_is_never_empty)
{
    define(METHOD_GET, "/users/:id");
    define(METHOD_GET, "/users/:id/posts");
    finds_none("/users/");
    finds_none("/users//posts");
}
END_TEST

START_TEST(rest_takes_everything_that_is_left)
{
    const route *r = define(METHOD_GET, "/files/*path");
    finds(METHOD_GET, "/files/a", r);
    value_is(0, "a");
    finds(METHOD_GET, "/files/a//b/%2F/", r);
    value_is(0, "a//b/%2F/");
    finds(METHOD_GET, "/files//", r);
    value_is(0, "/");
}
END_TEST

START_TEST(rest_is_never_empty)
{
    define(METHOD_GET, "/files/*path");
    finds_none("/files/");
    finds_none("/files");
    define(METHOD_GET, "/*all");
    finds_none("/");
}
END_TEST

START_TEST(escaped_slash_stays_in_its_segment)
{
    const route *one = define(METHOD_GET, "/a/:x");
    const route *two = define(METHOD_GET, "/a/:x/:y");
    finds(METHOD_GET, "/a/b%2Fc", one);
    value_is(0, "b%2Fc");
    finds(METHOD_GET, "/a/b/c", two);
    finds_none("/a%2Fb");
}
END_TEST

START_TEST(escaped_literal_matches_its_bytes)
{
    const route *r = define(METHOD_GET, "/caf\xc3\xa9/a b");
    finds(METHOD_GET, "/caf%C3%A9/a%20b", r);
    finds(METHOD_GET, "/%63%61f\xc3%a9/a%20%62", r);
    finds_none("/caf%C3%A9/a+b");
    finds_none("/caf%C3%A8/a%20b");
    finds_none("/caf%C3/a%20b");
    finds_none("/cbf%C3%A9/%61%20b");
    finds_none("/caf%C3%A9/%62%20b");
    finds_none("/caf%25C3%25A9/a%20b");
}
END_TEST

START_TEST(empty_segments_are_segments)
{
    const route *plain = define(METHOD_GET, "/a/b");
    finds_none("/a/b/");
    finds_none("/a//b");
    finds_none("//a/b");
    const route *slash = define(METHOD_GET, "/a/b/");
    const route *twice = define(METHOD_GET, "/a//b");
    finds(METHOD_GET, "/a/b", plain);
    finds(METHOD_GET, "/a/b/", slash);
    finds(METHOD_GET, "/a//b", twice);
    const route *empty = define(METHOD_GET, "//");
    finds(METHOD_GET, "//", empty);
    finds_none("/");
    finds_none("///");
}
END_TEST

START_TEST(dot_segments_are_plain_names)
{
    const route *r = define(METHOD_GET, "/a/:x/c");
    define(METHOD_GET, "/c");
    finds(METHOD_GET, "/a/../c", r);
    value_is(0, "..");
    finds(METHOD_GET, "/a/%2e/c", r);
    finds_none("/./c");
}
END_TEST

START_TEST(literal_goes_before_parameter_before_rest_in_any_order)
{
    static const char *const patterns[] = {"/x/me", "/x/:id", "/x/*rest"};
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const route *routes[3];
    for (int i = 0; i < 3; i++)
        routes[orders[_i][i]] = define(METHOD_GET, patterns[orders[_i][i]]);
    finds(METHOD_GET, "/x/me", routes[0]);
    finds(METHOD_GET, "/x/%6de", routes[0]);
    finds(METHOD_GET, "/x/you", routes[1]);
    finds(METHOD_GET, "/x/me/too", routes[2]);
}
END_TEST

START_TEST(dead_end_behind_a_literal_tries_the_parameter)
{
    define(METHOD_GET, "/users/me/posts");
    const route *files = define(METHOD_GET, "/users/:id/files/:name");
    const route *rest = define(METHOD_GET, "/users/*rest");
    finds(METHOD_GET, "/users/me/files/x", files);
    value_is(0, "me");
    value_is(1, "x");
    finds(METHOD_GET, "/users/me/files/x/y", rest);
    value_is(0, "me/files/x/y");
    finds(METHOD_GET, "/users/me", rest);
}
END_TEST

START_TEST(search_goes_on_when_the_method_is_missing)
{
    const route *me = define(METHOD_GET, "/users/me");
    const route *id = define(METHOD_DELETE, "/users/:id");
    const route *rest = define(METHOD_PUT, "/*rest");
    finds(METHOD_GET, "/users/me", me);
    finds(METHOD_DELETE, "/users/me", id);
    value_is(0, "me");
    finds(METHOD_PUT, "/users/me", rest);
    value_is(0, "users/me");
}
END_TEST

START_TEST(missing_method_lists_those_of_all_routes_that_fit)
{
    define(METHOD_GET, "/users/me");
    define(METHOD_DELETE, "/users/:id");
    define(METHOD_PUT, "/*rest");
    define(METHOD_PATCH, "/users/:id/posts");
    ck_assert_int_eq(match(METHOD_POST, "/users/me"), ROUTE_METHOD_NOT_ALLOWED);
    ck_assert_ptr_null(got.route);
    char text[METHOD_ALLOW_BYTES];
    method_allow_text(got.allowed, text, sizeof text);
    ck_assert_str_eq(text, "DELETE, GET, HEAD, OPTIONS, PUT");
    ck_assert_int_eq(match(METHOD_POST, "/users/you"), ROUTE_METHOD_NOT_ALLOWED);
    method_allow_text(got.allowed, text, sizeof text);
    ck_assert_str_eq(text, "DELETE, OPTIONS, PUT");
}
END_TEST

START_TEST(head_falls_back_to_get)
{
    const route *get = define(METHOD_GET, "/a");
    finds(METHOD_HEAD, "/a", get);
    const route *head = define(METHOD_HEAD, "/a");
    finds(METHOD_HEAD, "/a", head);
    finds(METHOD_GET, "/a", get);
    define(METHOD_HEAD, "/:x");
    const route *only_get = define(METHOD_GET, "/b");
    finds(METHOD_HEAD, "/b", only_get);
}
END_TEST

START_TEST(head_route_does_not_answer_get)
{
    define(METHOD_HEAD, "/a");
    ck_assert_int_eq(match(METHOD_GET, "/a"), ROUTE_METHOD_NOT_ALLOWED);
    ck_assert_uint_eq(got.allowed, METHOD_BIT(METHOD_HEAD) | METHOD_BIT(METHOD_OPTIONS));
}
END_TEST

START_TEST(options_without_a_route_gets_the_allowed_set)
{
    define(METHOD_POST, "/a");
    ck_assert_int_eq(match(METHOD_OPTIONS, "/a"), ROUTE_METHOD_NOT_ALLOWED);
    ck_assert_uint_eq(got.allowed, METHOD_BIT(METHOD_POST) | METHOD_BIT(METHOD_OPTIONS));
    ck_assert_int_eq(match(METHOD_OPTIONS, "/b"), ROUTE_NOT_FOUND);
    const route *own = define(METHOD_OPTIONS, "/a");
    finds(METHOD_OPTIONS, "/a", own);
}
END_TEST

START_TEST(bad_path_is_told_before_anything_else)
{
    static const char *const bad[] = {"",      "a",    "*",    "users/1", "/%",   "/a%2",       "/a/%zz/b",
                                      "/a%00", "/x/%", "/%00", "?",       "%2Fa", "/a/b/c/d/%", "/none/%0"};
    define(METHOD_GET, "/a");
    define(METHOD_GET, "/x/*rest");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(match(METHOD_GET, bad[i]) == ROUTE_BAD_PATH, "%s", bad[i]);
        ck_assert_ptr_null(got.route);
        ck_assert_uint_eq(got.allowed, 0);
    }
    ck_assert_int_eq(route_match(tree, METHOD_GET, STR("/a\0"), &got), ROUTE_BAD_PATH);
    ck_assert_int_eq(route_match(tree, METHOD_GET, (str){0}, &got), ROUTE_BAD_PATH);
}
END_TEST

START_TEST(path_is_not_read_past_its_end)
{
    const route *r = define(METHOD_GET, "/abc");
    ck_assert_int_eq(route_match(tree, METHOD_GET, (str){"/abc%zz", 4}, &got), ROUTE_FOUND);
    ck_assert_ptr_eq(got.route, r);
    ck_assert_int_eq(route_match(tree, METHOD_GET, (str){"/abc", 3}, &got), ROUTE_NOT_FOUND);
}
END_TEST

/* ---- cost ---- */

/* A tree of n routes of four shapes, and how many steps its paths cost together. */
static unsigned cost_among(unsigned n, unsigned *ret_most)
{
    char text[64];
    route_tree_free(tree);
    tree = route_tree_new();
    for (unsigned i = 0; i < n; i += 4) {
        static const char *const shapes[] = {"/service%u", "/service%u/users/:id",
                                             "/service%u/users/:id/posts", "/api/item%u/*rest"};
        for (unsigned k = 0; k < 4; k++) {
            snprintf(text, sizeof text, shapes[k], i);
            define(METHOD_GET, text);
        }
    }
    unsigned sum = 0;
    *ret_most = 0;
    for (unsigned i = 0; i < 1000; i++) {
        static const char *const paths[] = {"/service%u", "/service%u/users/42", "/service%u/users/42/posts",
                                            "/api/item%u/a/b/c"};
        snprintf(text, sizeof text, paths[i % 4], i / 4 * 4 % n);
        ck_assert_int_eq(match(METHOD_GET, text), ROUTE_FOUND);
        sum += got.steps;
        *ret_most = got.steps > *ret_most ? got.steps : *ret_most;
    }
    return sum;
}

START_TEST(ten_thousand_routes_cost_as_many_steps_as_ten)
{
    unsigned most_of_few, most_of_many;
    unsigned few = cost_among(12, &most_of_few);
    unsigned many = cost_among(10000, &most_of_many);
    ck_assert_uint_eq(route_tree_count(tree), 10000);
    ck_assert_msg(many < few + few / 2, "%u steps against %u", many, few);
    ck_assert_msg(most_of_many < most_of_few + 24, "%u steps against %u", most_of_many, most_of_few);
}
END_TEST

START_TEST(paths_that_fit_nothing_stay_cheap_among_ten_thousand)
{
    unsigned most;
    cost_among(10000, &most);
    unsigned sum = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char path[64];
        snprintf(path, sizeof path, "/nothing%u/users/42", i);
        finds_none(path);
        sum += got.steps;
    }
    ck_assert_uint_lt(sum, 10 * 1000);
}
END_TEST

enum { MIXED_SEGMENTS = 10 };

START_TEST(worst_tree_costs_no_more_steps_than_it_has_nodes)
{
    /* All mixtures of "a" and ":p" over ten segments: 2^11 - 1 nodes. */
    for (unsigned bits = 0; bits < 1u << MIXED_SEGMENTS; bits++) {
        char pattern[128] = "";
        for (int i = 0; i < MIXED_SEGMENTS; i++)
            snprintf(pattern + strlen(pattern), 16, bits >> i & 1 ? "/:p%d" : "/a", i);
        define(METHOD_GET, pattern);
    }
    const unsigned nodes = (2u << MIXED_SEGMENTS) - 1;
    finds_none("/a/a/a/a/a/a/a/a/a/a/b");
    ck_assert_uint_le(got.steps,
                      2 * 2 * nodes); /* two searches; a node and at most one literal compared there */
    match(METHOD_POST, "/a/a/a/a/a/a/a/a/a/a");
    ck_assert_uint_le(got.steps,
                      2 * nodes); /* the first search ends at the root: nothing is below it for POST */
    ck_assert_int_eq(match(METHOD_GET, "/b/b/b/b/b/b/b/b/b/b"), ROUTE_FOUND);
    ck_assert_uint_le(got.steps, 3 * MIXED_SEGMENTS);
}
END_TEST

START_TEST(long_paths_cost_no_more_steps_than_the_tree_is_deep)
{
    define(METHOD_GET, "/a/:b/c");
    size_t n = 1u << 20;
    char *path = malloc(n);
    for (size_t i = 0; i < n; i++)
        path[i] = i % 2 ? 'a' : '/';
    ck_assert_int_eq(route_match(tree, METHOD_GET, (str){path, n}, &got), ROUTE_NOT_FOUND);
    ck_assert_uint_lt(got.steps, 20);
    memset(path, '/', n);
    ck_assert_int_eq(route_match(tree, METHOD_GET, (str){path, n}, &got), ROUTE_NOT_FOUND);
    ck_assert_uint_lt(got.steps, 20);
    free(path);
}
END_TEST

START_TEST(literals_of_one_hash_are_told_apart)
{
    /* Both names have the same 32-bit FNV-1a. */
    const route *one = define(METHOD_GET, "/costarring");
    finds_none("/liquid");
    const route *two = define(METHOD_GET, "/liquid");
    finds(METHOD_GET, "/costarring", one);
    finds(METHOD_GET, "/liquid", two);
}
END_TEST

/* ---- against a plain list ---- */

typedef struct shape {
    enum http_method method;
    int n;
    char kinds[4]; /* 'a', 'b' or "" as a letter, ':' or '*' */
    const route *route;
} shape;

static uint64_t seed;

static unsigned random_below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((seed >> 33) % n);
}

/* Does the shape fit these segments? Letters stand for themselves, 'e' for the empty one. */
static bool fits(const shape *s, const char *segments, int n)
{
    for (int i = 0; i < s->n; i++) {
        if (s->kinds[i] == '*')
            return i < n && (segments[i] != 'e' || i + 1 < n);
        if (i >= n || (s->kinds[i] == ':' ? segments[i] == 'e' : s->kinds[i] != segments[i]))
            return false;
    }
    return s->n == n;
}

static int rank(char kind)
{
    return kind == '*' ? 2 : kind == ':' ? 1 : 0;
}

/* Is a to be preferred to b, both fitting one path? */
static bool goes_before(const shape *a, const shape *b)
{
    for (int i = 0; i < a->n && i < b->n; i++)
        if (rank(a->kinds[i]) != rank(b->kinds[i]))
            return rank(a->kinds[i]) < rank(b->kinds[i]);
    return false;
}

static void random_pattern(shape *s, char *pattern, size_t size)
{
    s->method = (enum http_method)random_below(METHOD_COUNT);
    s->n = 1 + (int)random_below(4);
    pattern[0] = '\0';
    for (int i = 0; i < s->n; i++) {
        char kind = "aab::e*"[random_below(i + 1 == s->n ? 7 : 6)];
        s->kinds[i] = kind;
        size_t used = strlen(pattern);
        if (kind == ':' || kind == '*')
            snprintf(pattern + used, size - used, "/%c%c%d", kind, kind == ':' ? 'p' : 'r', i);
        else
            snprintf(pattern + used, size - used, kind == 'e' ? "/" : "/%c", kind);
    }
}

static void check_against_list(const shape *shapes, size_t count)
{
    char path[32] = "";
    char segments[5];
    int n = 1 + (int)random_below(5);
    for (int i = 0; i < n; i++) {
        segments[i] = "abce"[random_below(4)];
        static const char *const texts[2][5] = {{"/a", "/b", "/c", "", "/"},
                                                {"/%61", "/%62", "/%63", "", "/"}};
        strcat(path, texts[random_below(2)][segments[i] - 'a']);
    }
    enum http_method method = (enum http_method)random_below(METHOD_COUNT);
    const shape *best = NULL;
    unsigned allowed = 0;
    for (size_t i = 0; i < count; i++) {
        const shape *s = &shapes[i];
        if (!s->route || !fits(s, segments, n))
            continue;
        allowed |= METHOD_BIT(s->method);
        bool get_for_head = method == METHOD_HEAD && s->method == METHOD_GET;
        if (s->method != method && !get_for_head)
            continue;
        if (!best || goes_before(s, best) || (!goes_before(best, s) && s->method == METHOD_HEAD))
            best = s;
    }
    enum route_result result = match(method, path);
    if (best) {
        ck_assert_int_eq(result, ROUTE_FOUND);
        ck_assert_msg(got.route == best->route, "%s: %s, not %s", path, got.route->pattern,
                      best->route->pattern);
        return;
    }
    ck_assert_int_eq(result, allowed ? ROUTE_METHOD_NOT_ALLOWED : ROUTE_NOT_FOUND);
    if (allowed & METHOD_BIT(METHOD_GET))
        allowed |= METHOD_BIT(METHOD_HEAD);
    ck_assert_uint_eq(got.allowed, allowed ? allowed | METHOD_BIT(METHOD_OPTIONS) : 0);
}

START_TEST(random_trees_agree_with_a_plain_list)
{
    enum { SHAPES = 24 };
    shape shapes[SHAPES];
    seed = (uint64_t)_i + 1;
    for (size_t i = 0; i < SHAPES; i++) {
        char pattern[32];
        random_pattern(&shapes[i], pattern, sizeof pattern);
        shapes[i].route = NULL; /* stays so for a route that is there already */
        int err = route_pattern_add(tree, shapes[i].method, str_from(pattern), STR("a:1"), &shapes[i].route,
                                    error, sizeof error);
        ck_assert_msg(err == 0 || err == -EEXIST, "%s", error);
    }
    for (int i = 0; i < 500; i++)
        check_against_list(shapes, SHAPES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *define_case = tcase_create("define");
    tcase_add_checked_fixture(define_case, setup, teardown);
    tcase_add_test(define_case, routes_are_listed_in_order_of_definition);
    tcase_add_test(define_case, tree_copies_what_it_is_given);
    tcase_add_test(define_case, segments_and_pattern_are_two_ways_to_say_one_thing);
    tcase_add_test(define_case, no_segments_are_the_root);
    tcase_add_test(define_case, pattern_shows_special_bytes_escaped_and_reads_them_back);
    tcase_add_test(define_case, same_route_twice_names_both_places);
    tcase_add_test(define_case, two_names_at_one_place_name_both_places);
    tcase_add_test(define_case, places_may_be_unknown);
    tcase_add_test(define_case, one_place_may_have_a_parameter_and_a_rest);
    tcase_add_test(define_case, bad_names_are_refused);
    tcase_add_test(define_case, rest_must_be_last);
    tcase_add_test(define_case, nul_in_a_literal_is_refused);
    tcase_add_test(define_case, as_many_parameters_as_allowed_and_no_more);
    tcase_add_test(define_case, as_many_segments_as_allowed_and_no_more);
    tcase_add_test(define_case, failed_definition_leaves_no_trace);
    tcase_add_test(define_case, error_text_is_cut_to_its_room);
    tcase_add_test(define_case, free_of_null_is_fine);
    suite_add_tcase(suite, define_case);

    TCase *match_case = tcase_create("match");
    tcase_add_checked_fixture(match_case, setup, teardown);
    tcase_add_test(match_case, empty_tree_finds_nothing);
    tcase_add_test(match_case, literals_match_byte_for_byte);
    tcase_add_test(match_case, parameter_takes_one_segment_raw);
    tcase_add_test(match_case, parameter_is_never_empty);
    tcase_add_test(match_case, rest_takes_everything_that_is_left);
    tcase_add_test(match_case, rest_is_never_empty);
    tcase_add_test(match_case, escaped_slash_stays_in_its_segment);
    tcase_add_test(match_case, escaped_literal_matches_its_bytes);
    tcase_add_test(match_case, empty_segments_are_segments);
    tcase_add_test(match_case, dot_segments_are_plain_names);
    tcase_add_loop_test(match_case, literal_goes_before_parameter_before_rest_in_any_order, 0, 6);
    tcase_add_test(match_case, dead_end_behind_a_literal_tries_the_parameter);
    tcase_add_test(match_case, search_goes_on_when_the_method_is_missing);
    tcase_add_test(match_case, missing_method_lists_those_of_all_routes_that_fit);
    tcase_add_test(match_case, head_falls_back_to_get);
    tcase_add_test(match_case, head_route_does_not_answer_get);
    tcase_add_test(match_case, options_without_a_route_gets_the_allowed_set);
    tcase_add_test(match_case, bad_path_is_told_before_anything_else);
    tcase_add_test(match_case, path_is_not_read_past_its_end);
    tcase_add_test(match_case, literals_of_one_hash_are_told_apart);
    tcase_add_loop_test(match_case, random_trees_agree_with_a_plain_list, 0, 40);
    suite_add_tcase(suite, match_case);

    TCase *cost = tcase_create("cost");
    tcase_add_checked_fixture(cost, setup, teardown);
    tcase_add_test(cost, ten_thousand_routes_cost_as_many_steps_as_ten);
    tcase_add_test(cost, paths_that_fit_nothing_stay_cheap_among_ten_thousand);
    tcase_add_test(cost, worst_tree_costs_no_more_steps_than_it_has_nodes);
    tcase_add_test(cost, long_paths_cost_no_more_steps_than_the_tree_is_deep);
    suite_add_tcase(suite, cost);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
