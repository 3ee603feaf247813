#include "vm/names.h"

#include <check.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

static lua_State *L;
static names *known;

static void open_state(void)
{
    L = luaL_newstate();
    ck_assert_ptr_nonnull(L);
    known = names_new(L);
    ck_assert_int_eq(lua_gettop(L), 0);
}

static void close_state(void)
{
    lua_close(L);
}

/* The name in lower case, as Lua has it; good until it is collected. */
static const char *lower(const char *name)
{
    names_push_lower(L, known, str_from(name));
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

static uint64_t bit_of(const char *name)
{
    uint64_t bit = names_push_lower(L, known, str_from(name));
    lua_pop(L, 1);
    return bit;
}

static const char *method(const char *name)
{
    names_push_method(L, known, str_from(name));
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

START_TEST(names_come_in_lower_case)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(lower("Host"), "host");
        ck_assert_str_eq(lower("X-Request-ID"), "x-request-id");
        ck_assert_str_eq(lower("aZ@[`{09_\xc0"), "az@[`{09_\xc0");
        ck_assert_str_eq(lower("Q"), "q");
    }
}
END_TEST

START_TEST(name_is_the_same_string_as_any_other_of_that_text)
{
    lua_newtable(L);
    names_push_lower(L, known, STR("Content-Type"));
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
    ck_assert_int_eq(lua_getfield(L, -1, "content-type"), LUA_TBOOLEAN);
}
END_TEST

START_TEST(remembered_name_costs_no_memory)
{
    lower("User-Agent");
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCSTOP);
    int before = lua_gc(L, LUA_GCCOUNT) * 1024 + lua_gc(L, LUA_GCCOUNTB);
    for (int i = 0; i < 100; i++)
        ck_assert_str_eq(lower("User-Agent"), "user-agent");
    ck_assert_int_eq(lua_gc(L, LUA_GCCOUNT) * 1024 + lua_gc(L, LUA_GCCOUNTB), before);
}
END_TEST

START_TEST(spellings_of_a_name_share_a_bit)
{
    static const char *const pairs[][2] = {
        {"host", "HOST"}, {"Accept-Encoding", "aCCEPT-eNCODING"}, {"x", "X"}, {"a_b", "A_B"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        ck_assert_uint_eq(bit_of(pairs[i][0]), bit_of(pairs[i][1]));
}
END_TEST

START_TEST(bit_is_one_whatever_the_name)
{
    char name[64];
    for (unsigned n = 0; n < sizeof(name); n++) {
        memset(name, 'A' + (int)n % 26, n);
        name[n] = '\0';
        ck_assert_int_eq(__builtin_popcountll(bit_of(name)), 1);
    }
}
END_TEST

START_TEST(common_headers_have_places_of_their_own)
{
    static const char *const common[] = {
        "host",         "user-agent",   "accept",        "accept-encoding", "accept-language", "connection",
        "content-type", "cookie",       "authorization", "content-length",  "cache-control",   "referer",
        "origin",       "x-request-id", "if-none-match", "x-forwarded-for",
    };
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
        ck_assert_msg(!(seen & bit_of(common[i])), "%s has another's place", common[i]);
        seen |= bit_of(common[i]);
    }
}
END_TEST

START_TEST(long_and_empty_names_share_a_bit_that_no_short_one_has)
{
    char longest[300];
    memset(longest, 'X', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    uint64_t bit = bit_of(longest);
    ck_assert_uint_eq(bit, bit_of(""));
    ck_assert_int_eq(lower(longest)[298], 'x');
    ck_assert_str_eq(lower(""), "");
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        ck_assert_uint_ne(bit_of(name), bit);
    }
}
END_TEST

START_TEST(newcomers_take_places_and_memory_stays)
{
    char name[32], want[32];
    int before = 0;
    for (int i = 10000; i < 50000; i++) { /* all of one length */
        snprintf(name, sizeof(name), "X-%d-Name", i);
        snprintf(want, sizeof(want), "x-%d-name", i);
        ck_assert_str_eq(lower(name), want);
        if (i % 10000 == 9999) {
            lua_gc(L, LUA_GCCOLLECT);
            int now = lua_gc(L, LUA_GCCOUNT);
            ck_assert_msg(before == 0 || now <= before + 1, "%d KiB were %d", now, before);
            before = now;
        }
    }
}
END_TEST

START_TEST(methods_are_told_as_they_are)
{
    static const char *const methods[] = {"GET", "PUT", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < 100; i++)
        ck_assert_str_eq(method(methods[i * i % 7]), methods[i * i % 7]);
}
END_TEST

START_TEST(odd_methods_are_told_too)
{
    char longest[100];
    memset(longest, 'M', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(method(""), "");
        ck_assert_str_eq(method("get"), "get");
        ck_assert_str_eq(method("GEX"), "GEX");
        ck_assert_str_eq(method(longest), longest);
        ck_assert_str_eq(method("GET"), "GET");
    }
}
END_TEST

static Suite *names_suite(void)
{
    const TTest *const all[] = {
        names_come_in_lower_case,
        name_is_the_same_string_as_any_other_of_that_text,
        remembered_name_costs_no_memory,
        spellings_of_a_name_share_a_bit,
        bit_is_one_whatever_the_name,
        common_headers_have_places_of_their_own,
        long_and_empty_names_share_a_bit_that_no_short_one_has,
        newcomers_take_places_and_memory_stays,
        methods_are_told_as_they_are,
        odd_methods_are_told_too,
    };
    Suite *s = suite_create("names");
    TCase *tc = tcase_create("names");
    tcase_add_checked_fixture(tc, open_state, close_state);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        tcase_add_test(tc, all[i]);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(names_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
