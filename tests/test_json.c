/* JSON both ways, as Lua sees it and as C calls it. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "vm/json.h"

static lua_State *L;

static void open_state(void)
{
    L = luaL_newstate();
    ck_assert_ptr_nonnull(L);
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_json, 1);
    lua_settop(L, 0);
}

static void close_state(void)
{
    lua_close(L);
}

/* Run a chunk that asserts in Lua. Globals: json; same(value, text); fails(f, part of the message, ...). */
static void run(const char *chunk)
{
    static const char helpers[] =
        "function same(value, text)\n"
        "    local got = json.encode(value)\n"
        "    if got ~= text then error(('%s is not %s'):format(got, text), 2) end\n"
        "end\n"
        "function fails(f, part, ...)\n"
        "    local ok, message = pcall(f, ...)\n"
        "    if ok then error('no error; expected: ' .. part, 2) end\n"
        "    if not tostring(message):find(part, 1, true) then error(message .. ' lacks: ' .. part, 2) end\n"
        "end\n";
    if (luaL_dostring(L, helpers) != LUA_OK || luaL_dostring(L, chunk) != LUA_OK)
        ck_abort_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

/* From C. */

static int call_json_encode(lua_State *state)
{
    buf *out = lua_touserdata(state, 2);
    json_encode(state, 1, out, (unsigned)lua_tointeger(state, 3));
    return 0;
}

/* Encode and pop the value on top. Returns: whether there was no error; else its message is on the stack. */
static bool encode_top(buf *out, unsigned flags)
{
    lua_pushcfunction(L, call_json_encode);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, out);
    lua_pushinteger(L, flags);
    return lua_pcall(L, 3, 0, 0) == LUA_OK;
}

static void expect_encoded(const char *bytes, size_t n, unsigned flags, const char *text)
{
    buf out = {0};
    lua_pushlstring(L, bytes, n);
    ck_assert(encode_top(&out, flags));
    ck_assert_msg(str_eq(buf_str(&out), str_from(text)), "%.*s is not %s", (int)out.n, out.p, text);
    buf_fini(&out);
}

static void expect_refused(const char *text, size_t position, const char *reason)
{
    json_error error;
    lua_settop(L, 0);
    ck_assert_int_eq(json_decode(L, str_from(text), &error), -EINVAL);
    ck_assert_int_eq(lua_gettop(L), 0);
    ck_assert_str_eq(error.reason, reason);
    ck_assert_msg(error.position == position, "%s: at %zu, not %zu", text, error.position, position);
}

START_TEST(encode_appends_and_leaves_the_stack)
{
    buf out = {0};
    ck_assert_int_eq(buf_add_str(&out, STR("x=")), 0);
    lua_pushinteger(L, 5);
    lua_pushboolean(L, 1);
    json_encode(L, 1, &out, 0);
    json_encode(L, -1, &out, 0);
    ck_assert_int_eq(lua_gettop(L), 2);
    ck_assert(str_eq(buf_str(&out), STR("x=5true")));
    buf_fini(&out);
}
END_TEST

START_TEST(encode_error_leaves_the_buffer_to_the_caller)
{
    buf out = {0};
    ck_assert_int_eq(luaL_dostring(L, "return {1, 2, print}"), LUA_OK);
    ck_assert(!encode_top(&out, 0));
    ck_assert_str_eq(lua_tostring(L, -1), "json: cannot encode a function at [3]");
    buf_fini(&out);
}
END_TEST

START_TEST(decode_pushes_one_value)
{
    json_error error;
    lua_pushliteral(L, "below");
    ck_assert_int_eq(json_decode(L, STR(" [1, {\"a\": 2}] "), &error), 0);
    ck_assert_int_eq(lua_gettop(L), 2);
    ck_assert(lua_istable(L, 2));
    ck_assert_str_eq(lua_tostring(L, 1), "below");
}
END_TEST

START_TEST(decode_takes_slices_without_a_nul_behind_them)
{
    json_error error;
    char *text = malloc(4); /* of exactly this size, so that the address sanitizer sees a byte too far */
    ck_assert_ptr_nonnull(text);
    memcpy(text, "1234", 4);
    for (size_t n = 1; n <= 4; n++) {
        ck_assert_int_eq(json_decode(L, (str){text, n}, &error), 0);
        ck_assert_int_eq(lua_tointeger(L, -1), n == 1 ? 1 : n == 2 ? 12 : n == 3 ? 123 : 1234);
    }
    memcpy(text, "\"\\u1", 4);
    for (size_t n = 1; n <= 4; n++)
        ck_assert_int_eq(json_decode(L, (str){text, n}, &error), -EINVAL);
    memcpy(text, "tru", 3);
    ck_assert_int_eq(json_decode(L, (str){text, 3}, &error), -EINVAL);
    free(text);
    ck_assert_int_eq(json_decode(L, (str){NULL, 0}, &error), -EINVAL);
    ck_assert_uint_eq(error.position, 0);
}
END_TEST

START_TEST(decode_errors_carry_position_and_reason)
{
    expect_refused("", 0, "unexpected end of the text");
    expect_refused("  ", 2, "unexpected end of the text");
    expect_refused("[1,", 3, "unexpected end of the text");
    expect_refused("[1,]", 3, "not a JSON value");
    expect_refused("[1 2]", 3, "a comma or ']' is missing");
    expect_refused("{\"a\":1 2}", 7, "a comma or '}' is missing");
    expect_refused("{\"a\" 1}", 5, "a ':' is missing");
    expect_refused("{1:2}", 1, "a key in quotes is missing");
    expect_refused("{\"a\":1,}", 7, "a key in quotes is missing");
    expect_refused("1 2", 2, "more text behind the value");
    expect_refused("[tru]", 1, "not a JSON value");
    expect_refused("[01]", 1, "malformed number");
    expect_refused("[1e400]", 1, "number out of range");
    expect_refused("\"ab\ncd\"", 3, "control character in a string");
    expect_refused("\"ab\\x\"", 3, "unknown escape");
    expect_refused("\"ab\\u12g4\"", 3, "malformed \\u escape");
    expect_refused("\"ab\\u1\"", 3, "malformed \\u escape");
    expect_refused("{\"ab\\u1\":1}", 4, "malformed \\u escape");
    expect_refused("\"ab\\ud800\"", 3, "lone surrogate in a \\u escape");
    expect_refused("\"ab\\udc00\\ud800\"", 3, "lone surrogate in a \\u escape");
    expect_refused("\"ab\xFF\"", 3, "invalid UTF-8");
    expect_refused("\"\xED\xA0\x80\"", 1, "invalid UTF-8");
    expect_refused("\xEF\xBB\xBF{}", 0, "not a JSON value");
    expect_refused("\"abc", 4, "unexpected end of the text");
    expect_refused("\"abc\\", 5, "unexpected end of the text");
    expect_refused("\"abc\\\"", 6, "unexpected end of the text");
}
END_TEST

/* Values. */

START_TEST(scalars_map_both_ways)
{
    run("same(nil, 'null') same(json.null, 'null') same(true, 'true') same(false, 'false') same('a', "
        "'\"a\"')\n"
        "same(12, '12') same(1.5, '1.5')\n"
        "assert(json.decode('null') == json.null and json.decode('true') == true and json.decode('false') == "
        "false)\n"
        "assert(json.decode('\"a\"') == 'a' and json.decode(' 12 ') == 12)\n"
        "assert(json.decode('{\"a\":null}').a == json.null)\n"
        "assert(type(json.null) == 'userdata')");
}
END_TEST

START_TEST(empty_tables_are_objects_unless_marked)
{
    run("same({}, '{}') same(json.array({}), '[]') same(json.array(), '[]') same(json.empty_array, '[]')\n"
        "same({a = {}}, '{\"a\":{}}') same({json.empty_array, json.array()}, '[[],[]]')\n"
        "same(setmetatable({}, json.array_mt), '[]') same(setmetatable({}, {}), '{}')");
}
END_TEST

START_TEST(decoded_arrays_keep_their_mark)
{
    run("for _, text in ipairs { '[]', '{}', '[[],{}]', '{\"a\":[]}', '[[[]]]' } do same(json.decode(text), "
        "text) end\n"
        "assert(getmetatable(json.decode('[1]')) == json.array_mt)\n"
        "assert(getmetatable(json.decode('{\"a\":1}')) == nil)");
}
END_TEST

START_TEST(array_returns_its_argument_and_refuses_other_metatables)
{
    run("local t = {1} assert(json.array(t) == t and json.array(t) == t) same(t, '[1]')\n"
        "fails(json.array, 'another metatable', setmetatable({}, {}))\n"
        "fails(json.array, 'table expected', 5)");
}
END_TEST

START_TEST(integers_are_exact_and_floats_stay_floats)
{
    run("same(math.maxinteger, '9223372036854775807') same(math.mininteger, '-9223372036854775808')\n"
        "same(123456789012345678, '123456789012345678') same((1 << 53) + 1, '9007199254740993')\n"
        "same(3.0, '3.0') same(0.1, '0.1') same(-0.0, '-0.0') same(1e300, '1e300')\n"
        "for _, v in ipairs { 0, 1, -1, math.maxinteger, math.mininteger, (1 << 53) - 1, (1 << 53) + 1, 3.0, "
        "-0.0, 0.1,\n"
        "    2^53, 2^63, 5e-324, 2.5e-310, 1.7976931348623157e308, math.pi } do\n"
        "    local back = json.decode(json.encode(v))\n"
        "    assert(back == v and math.type(back) == math.type(v), v)\n"
        "end\n"
        "assert(1 / json.decode('-0') == -math.huge)\n"
        "assert(json.decode('9223372036854775808') == 2^63)\n"
        "assert(math.type(json.decode('-9223372036854775809')) == 'float')");
}
END_TEST

START_TEST(strings_are_escaped_only_where_they_must_be)
{
    expect_encoded("a\"b\\c/d\x7F", 8, 0, "\"a\\\"b\\\\c/d\x7F\"");
    expect_encoded("\b\f\n\r\t", 5, 0, "\"\\b\\f\\n\\r\\t\"");
    expect_encoded("\0\x01\x1F", 3, 0, "\"\\u0000\\u0001\\u001f\"");
    expect_encoded("\xE2\x82\xAC\xF0\x9F\x98\x80", 7, 0, "\"\xE2\x82\xAC\xF0\x9F\x98\x80\"");
}
END_TEST

START_TEST(all_escapes_are_read)
{
    run("assert(json.decode([[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]]) == '\"\\\\/\\b\\f\\n\\r\\t')\n"
        "assert(json.decode([[\"\\u0000x\\u00e9\\u20AC\\ud83d\\ude00\"]]) == "
        "'\\0x\\u{e9}\\u{20ac}\\u{1f600}')\n"
        "assert(json.decode([[\"plain text, long enough \\u0041 and more\"]]) == 'plain text, long enough A "
        "and more')\n"
        "assert(json.decode([[{\"\\u0061\\u0000\":1}]])['a\\0'] == 1)");
}
END_TEST

START_TEST(any_byte_at_any_offset_survives)
{
    run("for c = 0, 127 do\n"
        "    for before = 0, 17 do\n"
        "        for after = 0, 17 do\n"
        "            local s = ('x'):rep(before) .. string.char(c) .. ('y'):rep(after)\n"
        "            assert(json.decode(json.encode(s)) == s)\n"
        "        end\n"
        "    end\n"
        "end");
}
END_TEST

START_TEST(every_code_point_survives)
{
    run("for c = 0, 0x10FFFF do\n"
        "    if c < 0xD800 or c > 0xDFFF then\n"
        "        local s = utf8.char(c)\n"
        "        if json.decode(json.encode(s)) ~= s then error(('U+%04X'):format(c)) end\n"
        "    end\n"
        "end");
}
END_TEST

START_TEST(escaped_code_points_are_read)
{
    run("for c = 0, 0xFFFF, 7 do\n"
        "    if c < 0xD800 or c > 0xDFFF then\n"
        "        assert(json.decode(('\"\\\\u%04x\"'):format(c)) == utf8.char(c))\n"
        "        assert(json.decode(('\"\\\\u%04X\"'):format(c)) == utf8.char(c))\n"
        "    end\n"
        "end\n"
        "for c = 0x10000, 0x10FFFF, 4093 do\n"
        "    local v = c - 0x10000\n"
        "    assert(json.decode(('\"\\\\u%04x\\\\u%04x\"'):format(0xD800 + (v >> 10), 0xDC00 + (v & 0x3FF))) "
        "== utf8.char(c))\n"
        "end");
}
END_TEST

START_TEST(bad_utf8_is_replaced_by_maximal_part)
{
    const char *r = "\xEF\xBF\xBD";
    const struct {
        const char *bytes;
        int before, replacements;
        const char *after;
    } cases[] = {
        {"\xFF", 0, 1, ""},
        {"ab\x80", 2, 1, ""},
        {"\xC0\xAF", 0, 2, ""},
        {"\xE0\x80\xAF", 0, 3, ""},
        {"\xF0\x80\x80\x41", 0, 3, "A"},
        {"\xED\xA0\x80", 0, 3, ""},
        {"\xF4\x91\x92\x93", 0, 4, ""},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 0, 4, "A"},
        {"ok\xE2\x82", 2, 1, ""},
        {"ok\xF0\x9F\x98 more of it", 2, 1, " more of it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "\"%.*s", cases[i].before, cases[i].bytes);
        for (int k = 0; k < cases[i].replacements; k++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s", r);
        snprintf(text + n, sizeof text - (size_t)n, "%s\"", cases[i].after);
        expect_encoded(cases[i].bytes, strlen(cases[i].bytes), JSON_REPLACE_BAD_UTF8, text);
    }
}
END_TEST

START_TEST(bad_utf8_raises_with_path_and_offset)
{
    run("fails(json.encode, 'a string with invalid UTF-8 at its byte 3 at .a[2]', {a = {1, 'abc\\xFF'}})\n"
        "fails(json.encode, 'a key with invalid UTF-8 at its byte 0 at [\"?b\"]', {['\\xFFb'] = 1})\n"
        "fails(json.encode, 'a string with invalid UTF-8 at its byte 1 at the top level', 'a\\xE2\\x82')");
}
END_TEST

START_TEST(duplicate_keys_keep_the_last)
{
    run("assert(json.decode('{\"a\":1,\"b\":2,\"a\":3}').a == 3)\n"
        "local parts = {}\n"
        "for i = 1, 100 do parts[i] = ('\"k%d\":%d,\"a\":%d'):format(i, i, i) end\n"
        "local t = json.decode('{' .. table.concat(parts, ',') .. '}')\n"
        "assert(t.a == 100 and t.k1 == 1 and t.k100 == 100)");
}
END_TEST

START_TEST(objects_of_any_size_survive)
{
    run("for _, n in ipairs { 1, 2, 31, 32, 33, 34, 64, 65, 1000 } do\n"
        "    local t = {}\n"
        "    for i = 1, n do t['key' .. i] = i end\n"
        "    local back, count = json.decode(json.encode(t)), 0\n"
        "    for k, v in pairs(back) do assert(t[k] == v) count = count + 1 end\n"
        "    assert(count == n)\n"
        "end");
}
END_TEST

START_TEST(arrays_of_any_size_survive)
{
    run("for _, n in ipairs { 1, 2, 63, 64, 65, 66, 1000, 1001, 100000 } do\n"
        "    local t = {}\n"
        "    for i = 1, n do t[i] = i * 3 end\n"
        "    local back = json.decode(json.encode(t))\n"
        "    assert(#back == n)\n"
        "    for i = 1, n do assert(back[i] == t[i]) end\n"
        "end");
}
END_TEST

START_TEST(arrays_may_live_in_the_hash_part)
{
    run("local t = {} for i = 10, 1, -1 do t[i] = i end same(t, '[1,2,3,4,5,6,7,8,9,10]')\n"
        "same({[3] = 'c', [2] = 'b', [1] = 'a'}, '[\"a\",\"b\",\"c\"]')\n"
        "same({'a', [3] = 'c', [2] = 'b'}, '[\"a\",\"b\",\"c\"]')\n"
        "same({x = {[2] = {[2] = 1, [1] = 2}, [1] = 0}}, '{\"x\":[0,[2,1]]}')");
}
END_TEST

START_TEST(nested_scattered_arrays_take_linear_time)
{
    run("local t = 0\n"
        "for _ = 1, 200 do t = {t, [3] = 3, [2] = 2, [5] = 5, [4] = 4} end\n"
        "assert(#json.encode(t) == 200 * #'[,2,3,4,5]' + 1)");
}
END_TEST

START_TEST(metamethods_are_not_called)
{
    run("local trap = setmetatable({a = 1}, {__index = error, __len = error, __pairs = error, __tostring = "
        "error})\n"
        "same(trap, '{\"a\":1}') same(setmetatable({1, 2}, {__len = error, __index = error}), '[1,2]')");
}
END_TEST

/* Errors of the encoder. */

START_TEST(errors_name_the_path)
{
    run("local t = {items = {{}, {}, {price = 0/0}}}\n"
        "fails(json.encode, 'json: cannot encode NaN at .items[3].price', t)\n"
        "t.items[3].price = math.huge fails(json.encode, 'cannot encode infinity at .items[3].price', t)\n"
        "t.items[3].price = -math.huge fails(json.encode, 'cannot encode -infinity at .items[3].price', t)\n"
        "t.items[3].price = print fails(json.encode, 'cannot encode a function at .items[3].price', t)\n"
        "fails(json.encode, 'cannot encode a thread at .co', {co = coroutine.create(print)})\n"
        "fails(json.encode, 'cannot encode a userdata at [1]', {io.stdout})\n"
        "fails(json.encode, 'cannot encode a function at the top level', print)\n"
        "fails(json.encode, 'at [\"a b\"][\"\"][\"1x\"]', {['a b'] = {[''] = {['1x'] = print}}})\n"
        "fails(json.encode, 'at [\"a?b??\"]', {['a\\nb\"\\xFF'] = print}, 1)");
}
END_TEST

START_TEST(holes_and_mixed_keys_are_named)
{
    run("fails(json.encode, 'an array with a hole at .items[2]', {items = {1, nil, 3}})\n"
        "fails(json.encode, 'an array with a hole at [1]', {[2] = 1})\n"
        "fails(json.encode, 'an array with a hole at [3]', {1, 2, [4] = 4})\n"
        "fails(json.encode, 'an array with a hole at [2]', json.array {[1] = 1, [1000000] = 2})\n"
        "fails(json.encode, 'a string key in an array at .x.name', {x = {1, 2, name = 3}})\n"
        "fails(json.encode, 'a string key in an array at .name', json.array {name = 3})\n"
        "fails(json.encode, 'a number key in a table that is not an array at [0]', {[0] = 1})\n"
        "fails(json.encode, 'a number key in a table that is not an array at [-5]', {[-5] = 1})\n"
        "fails(json.encode, 'a number key at .t[1.5]', {t = {[1.5] = 1}})\n"
        "fails(json.encode, 'a boolean key at [true]', {[true] = 1})\n"
        "fails(json.encode, 'a table key at [table]', {[{}] = 1})\n"
        "local t = {a = 1, b = 2, c = 3} t[7] = 1\n"
        "local ok, message = pcall(json.encode, t)\n"
        "assert(not ok and (message:find('[7]', 1, true) or message:find('a string key')))");
}
END_TEST

START_TEST(failing_leaves_tables_as_they_were)
{
    run("local t = {[1.5] = 1} pcall(json.encode, t) assert(next(t) == 1.5)\n"
        "local t = {[7] = 1} pcall(json.encode, t) assert(math.type(next(t)) == 'integer')\n"
        "local t = {1, 2, {x = print}} pcall(json.encode, t) assert(#t == 3 and math.type(next(t)) == "
        "'integer')");
}
END_TEST

START_TEST(depth_is_limited_alike_both_ways)
{
    run("local function nest(n) local t = 1 for _ = 1, n do t = {t} end return t end\n"
        "local text = json.encode(nest(512)) assert(#text == 1025)\n"
        "assert(json.encode(json.decode(text)) == text)\n"
        "fails(json.encode, 'nested too deep', nest(513))\n"
        "fails(json.decode, 'json: nested too deep at byte 512', ('['):rep(513) .. (']'):rep(513))\n"
        "fails(json.decode, 'nested too deep', ('{\"a\":'):rep(513))\n"
        "fails(json.decode, 'nested too deep', ('['):rep(1000000))");
}
END_TEST

START_TEST(cycles_end_in_an_error)
{
    run("local t = {} t.me = t\n"
        "fails(json.encode, 'a table nested too deep (or one that contains itself) at .me.me.me', t)\n"
        "local a = {} a[1] = a fails(json.encode, '[1][1]...[1]', a)\n"
        "local ok, message = pcall(json.encode, t) assert(#message < 300)");
}
END_TEST

START_TEST(decode_in_lua_raises_with_reason_and_byte)
{
    run("fails(json.decode, \"json: a comma or ']' is missing at byte 3\", '[1 2]')\n"
        "fails(json.decode, 'string expected', {}) fails(json.decode, 'string expected')\n"
        "fails(json.encode, 'value expected')\n"
        "assert(json.encode('still works') == '\"still works\"' and json.decode('1') == 1)");
}
END_TEST

START_TEST(deep_in_a_coroutine_the_stack_grows)
{
    run("local co = coroutine.wrap(function()\n"
        "    local t = json.decode(('[{\"a\":'):rep(200) .. '1' .. ('}]'):rep(200))\n"
        "    return json.encode(t)\n"
        "end)\n"
        "assert(co() == ('[{\"a\":'):rep(200) .. '1' .. ('}]'):rep(200))");
}
END_TEST

START_TEST(finalizers_may_use_json_too)
{
    run("collectgarbage('setpause', 100)\n"
        "local seen = 0\n"
        "for i = 1, 2000 do\n"
        "    setmetatable({}, {__gc = function()\n"
        "        assert(json.decode('\"\\\\n\\\\n\\\\n\\\\n\"') == '\\n\\n\\n\\n') json.encode({'x', 'y'}) "
        "seen = seen + 1\n"
        "    end})\n"
        "    local s = 'line ' .. i .. '\\n' .. ('z'):rep(i % 50)\n"
        "    assert(json.decode(json.encode({s}))[1] == s)\n"
        "end\n"
        "collectgarbage() assert(seen == 2000)");
}
END_TEST

START_TEST(long_texts_come_back_too)
{
    run("local text = ('\\n\"\\\\'):rep(1 << 20)\n"
        "assert(json.decode(json.encode(text)) == text)\n"
        "assert(json.decode(json.encode(text:sub(1, 100000))) == text:sub(1, 100000))");
}
END_TEST

START_TEST(pointers_of_others_are_no_null)
{
    buf out = {0};
    lua_pushlightuserdata(L, &out);
    ck_assert(!encode_top(&out, 0));
    ck_assert_ptr_nonnull(strstr(lua_tostring(L, -1), "userdata"));
    buf_fini(&out);
}
END_TEST

START_TEST(opening_twice_shares_the_marks)
{
    lua_getglobal(L, "json");
    lua_setglobal(L, "first");
    luaL_requiref(L, "json2", luaopen_json, 1);
    run("assert(json2.array_mt == first.array_mt and json2.empty_array == first.empty_array)\n"
        "same(json2.array(), '[]') same(json2.decode('[]'), '[]')");
}
END_TEST

/* Another locale. */

/* Make a German locale of the system's sources. Returns: whether that worked. */
static bool build_german_locale(const char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    return system(command) == 0;
}

static bool use_german_locale(const char *folder)
{
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        return true;
    return build_german_locale(folder) && setenv("LOCPATH", folder, 1) == 0 &&
           setlocale(LC_NUMERIC, "de_DE.UTF-8");
}

START_TEST(the_locale_does_not_matter)
{
    char folder[] = "/tmp/test_json.XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    if (use_german_locale(folder)) {
        char printed[16];
        snprintf(printed, sizeof printed, "%.1f", 1.5);
        ck_assert_str_eq(printed, "1,5");
        run("same(1.5, '1.5') same(1e-10, '1e-10') same(0.1 + 0.2, '0.30000000000000004')\n"
            "assert(json.decode('1.5') == 3 / 2 and json.decode('1234567.125') * 8 == 9876537)\n"
            "assert(json.decode('9007199254740993.00000000000000000000000000001') == 2^53 + 2)\n"
            "assert(not pcall(json.decode, '1,5'))");
    } else {
        puts("skipped: the_locale_does_not_matter: no German locale, and localedef could not make one");
    }
    setlocale(LC_NUMERIC, "C");
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* Out of memory. */

typedef struct meter {
    size_t bytes; /* in use */
    long allowed; /* allocations until they fail; negative: no end */
} meter;

static void *metered_alloc(void *ud, void *p, size_t old, size_t n)
{
    meter *m = ud;
    if (!p)
        old = 0;
    if (n == 0) {
        m->bytes -= old;
        free(p);
        return NULL;
    }
    if (n > old && m->allowed >= 0 && m->allowed-- == 0) {
        m->allowed = 0;
        return NULL;
    }
    void *q = realloc(p, n);
    if (q)
        m->bytes += n - old;
    return q;
}

static int use_everything(lua_State *state)
{
    luaL_requiref(state, "json", luaopen_json, 0);
    lua_getfield(state, -1, "decode");
    lua_pushliteral(state,
                    "{\"a\":[1,2.5,\"a string with \\u0065scapes, too long to be interned\",null,[],{}],"
                    "\"b\":{\"c\":[[[[[[[[[[[[[[[[[[[[true]]]]]]]]]]]]]]]]]]]]}}");
    lua_call(state, 1, 1);
    lua_getfield(state, -2, "encode");
    lua_insert(state, -2);
    lua_call(state, 1, 1);
    lua_getfield(state, -2, "encode"); /* and an error with its path */
    lua_createtable(state, 0, 1);
    lua_pushboolean(state, 1);
    lua_pushboolean(state, 1);
    lua_rawset(state, -3);
    return lua_pcall(state, 1, 1, 0) == LUA_ERRMEM ? lua_error(state) : 0;
}

START_TEST(out_of_memory_anywhere_leaks_nothing)
{
    int status = LUA_ERRMEM;
    for (long n = 0; status != LUA_OK; n++) {
        meter m = {.allowed = -1};
        lua_State *state = lua_newstate(metered_alloc, &m);
        ck_assert_ptr_nonnull(state);
        luaL_checkstack(state, LUA_MINSTACK, NULL);
        lua_pushcfunction(state, use_everything);
        m.allowed = n;
        status = lua_pcall(state, 0, 0, 0);
        m.allowed = -1;
        ck_assert(status == LUA_OK || status == LUA_ERRMEM);
        lua_close(state);
        ck_assert_uint_eq(m.bytes, 0);
        ck_assert_int_lt(n, 10000);
    }
}
END_TEST

/* JSONTestSuite. */

typedef enum verdict { MUST_PASS, MUST_FAIL, MAY_DO_EITHER } verdict;

static void load_file(const char *folder, const char *name, buf *ret)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot read %s", path);
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        ck_assert_int_eq(buf_add(ret, part, n), 0);
    ck_assert_int_eq(ferror(f), 0);
    fclose(f);
}

static void expect_round_trip(const char *name)
{
    buf first = {0}, second = {0};
    json_error error;
    ck_assert_msg(encode_top(&first, 0), "%s: %s", name, lua_tostring(L, -1));
    ck_assert_msg(json_decode(L, buf_str(&first), &error) == 0, "%s: not read back", name);
    ck_assert(encode_top(&second, 0));
    /* The order of keys may differ, the size may not. */
    ck_assert_msg(first.n == second.n, "%s: %.*s against %.*s", name, (int)first.n, first.p, (int)second.n,
                  second.p);
    buf_fini(&first);
    buf_fini(&second);
}

static void try_file(const char *folder, const char *name)
{
    verdict expected = name[0] == 'y' ? MUST_PASS : name[0] == 'n' ? MUST_FAIL : MAY_DO_EITHER;
    buf text = {0};
    json_error error = {0};
    load_file(folder, name, &text);
    bool accepted = json_decode(L, buf_str(&text), &error) == 0;
    ck_assert_msg(expected != MUST_PASS || accepted, "%s refused: %s at byte %zu", name, error.reason,
                  error.position);
    ck_assert_msg(expected != MUST_FAIL || !accepted, "%s accepted", name);
    ck_assert(accepted || error.position <= text.n);
    if (accepted)
        expect_round_trip(name);
    lua_settop(L, 0);
    buf_fini(&text);
}

START_TEST(jsontestsuite_is_judged_as_it_asks)
{
    const char *shared = getenv("POOLSRV_SHARED");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/vectors/json", shared ? shared : "../shared");
    DIR *dir = opendir(folder);
    if (!dir) {
        bool there = access(shared ? shared : "../shared", F_OK) == 0;
        ck_assert_msg(!(there && getenv("CI")), "cannot read %s", folder);
        printf("skipped: jsontestsuite_is_judged_as_it_asks: no %s\n", folder);
        return;
    }
    int files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strlen(entry->d_name) > 5 && entry->d_name[1] == '_') {
            try_file(folder, entry->d_name);
            files++;
        }
    }
    closedir(dir);
    ck_assert_int_gt(files, 300);
}
END_TEST

START_TEST(five_hundred_levels_pass_and_a_hundred_thousand_do_not)
{
    buf text = {0};
    json_error error;
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(buf_add(&text, "[", 1), 0);
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(buf_add(&text, "]", 1), 0);
    ck_assert_int_eq(json_decode(L, buf_str(&text), &error), 0);
    text.n = 0;
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(buf_add(&text, "[", 1), 0);
    ck_assert_int_eq(json_decode(L, buf_str(&text), &error), -EINVAL);
    buf_fini(&text);
}
END_TEST

static void add_c_tests(Suite *s)
{
    TCase *t = tcase_create("from C");
    tcase_add_checked_fixture(t, open_state, close_state);
    tcase_add_test(t, encode_appends_and_leaves_the_stack);
    tcase_add_test(t, encode_error_leaves_the_buffer_to_the_caller);
    tcase_add_test(t, decode_pushes_one_value);
    tcase_add_test(t, decode_takes_slices_without_a_nul_behind_them);
    tcase_add_test(t, decode_errors_carry_position_and_reason);
    tcase_add_test(t, jsontestsuite_is_judged_as_it_asks);
    tcase_add_test(t, five_hundred_levels_pass_and_a_hundred_thousand_do_not);
    suite_add_tcase(s, t);
}

static void add_value_tests(Suite *s)
{
    TCase *t = tcase_create("values");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, open_state, close_state);
    tcase_add_test(t, scalars_map_both_ways);
    tcase_add_test(t, empty_tables_are_objects_unless_marked);
    tcase_add_test(t, decoded_arrays_keep_their_mark);
    tcase_add_test(t, array_returns_its_argument_and_refuses_other_metatables);
    tcase_add_test(t, integers_are_exact_and_floats_stay_floats);
    tcase_add_test(t, strings_are_escaped_only_where_they_must_be);
    tcase_add_test(t, all_escapes_are_read);
    tcase_add_test(t, any_byte_at_any_offset_survives);
    tcase_add_test(t, every_code_point_survives);
    tcase_add_test(t, escaped_code_points_are_read);
    tcase_add_test(t, bad_utf8_is_replaced_by_maximal_part);
    tcase_add_test(t, duplicate_keys_keep_the_last);
    tcase_add_test(t, objects_of_any_size_survive);
    tcase_add_test(t, arrays_of_any_size_survive);
    tcase_add_test(t, arrays_may_live_in_the_hash_part);
    tcase_add_test(t, nested_scattered_arrays_take_linear_time);
    tcase_add_test(t, metamethods_are_not_called);
    suite_add_tcase(s, t);
}

static void add_error_tests(Suite *s)
{
    TCase *t = tcase_create("errors");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, open_state, close_state);
    tcase_add_test(t, bad_utf8_raises_with_path_and_offset);
    tcase_add_test(t, errors_name_the_path);
    tcase_add_test(t, holes_and_mixed_keys_are_named);
    tcase_add_test(t, failing_leaves_tables_as_they_were);
    tcase_add_test(t, depth_is_limited_alike_both_ways);
    tcase_add_test(t, cycles_end_in_an_error);
    tcase_add_test(t, decode_in_lua_raises_with_reason_and_byte);
    tcase_add_test(t, deep_in_a_coroutine_the_stack_grows);
    tcase_add_test(t, finalizers_may_use_json_too);
    tcase_add_test(t, long_texts_come_back_too);
    tcase_add_test(t, pointers_of_others_are_no_null);
    tcase_add_test(t, opening_twice_shares_the_marks);
    tcase_add_test(t, the_locale_does_not_matter);
    tcase_add_test(t, out_of_memory_anywhere_leaks_nothing);
    suite_add_tcase(s, t);
}

int main(void)
{
    Suite *s = suite_create("json");
    add_c_tests(s);
    add_value_tests(s);
    add_error_tests(s);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
