"""The global `json`, and JSON as it crosses the wire."""

import json

import pytest

from poolsrv import raw, SHARED

SUITE = SHARED / "vectors/json"

ECHO_APP = """
    function api.echo.post(ctx) return api.json(ctx:json()) end
    function api.list.get(ctx)
        local list = {}
        for i = 1, tonumber(ctx:query().n) do list[i] = i end
        return list
    end
"""


def lua(serve, body):
    """What `body` returns as the reply of GET /."""
    return serve("function api.get(ctx) " + body + " end").get("/")


@pytest.mark.parametrize("text", [
    "[]", "{}", "[[],{},[{}]]", '{"a":[]}', "null", "[null,null]", "true", '"x"', "0", "-1",
    "9223372036854775807", "-9223372036854775808", "123456789012345678", "0.1", "1e300",
    '"\\u0000\\u001f"', '"\\"\\\\"', '"é😀"',
])
def test_round_trip_is_exact(serve, text):
    assert serve(ECHO_APP).post("/echo", text.encode()).text == text


@pytest.mark.parametrize("text, back", [
    ("1.0", 1.0), ("9223372036854775808", 9223372036854775808.0), ("1e2", 100.0), ("-0.0", -0.0),
    ("5e-324", 5e-324), ("1.7976931348623157e308", 1.7976931348623157e308),
    ("2.2250738585072014e-308", 2.2250738585072014e-308),
    ("0.30000000000000004", 0.30000000000000004), ("123456789.123456789", 123456789.123456789),
])
def test_floats_come_back_as_the_same_float(serve, text, back):
    got = json.loads(serve(ECHO_APP).post("/echo", text).text)
    assert float(got).hex() == back.hex()


def test_integers_and_floats_keep_their_kinds(serve):
    reply = lua(serve, """
        local t = json.decode("[1, 1.0, 1e0, 9007199254740993]")
        return { math.type(t[1]), math.type(t[2]), math.type(t[3]), math.type(t[4]), t[4] == 9007199254740993 }
    """)
    assert reply.json() == ["integer", "float", "float", "integer", True]


def test_of_duplicate_keys_the_last_counts(serve):
    assert serve(ECHO_APP).post("/echo", '{"a":1,"b":2,"a":3}').json() == {"a": 3, "b": 2}


def test_escapes_become_utf8(serve):
    assert serve(ECHO_APP).post("/echo", r'"\u00e9\ud83d\ude00\/"').text == '"é😀/"'


def test_empty_table_is_an_object_and_marks_make_arrays(serve):
    assert lua(serve, "return { a = {}, b = json.array({}), c = json.empty_array, d = json.decode('[]') }").json() == {
        "a": {}, "b": [], "c": [], "d": []}


def test_null_is_kept_apart_from_nil(serve):
    assert lua(serve, """
        local t = json.decode('{"a":null}')
        return { same = t.a == json.null, missing = t.b == nil, list = { json.null, 1 },
                 out = json.encode({ a = json.null }) }
    """).json() == {"same": True, "missing": True, "list": [None, 1], "out": '{"a":null}'}


@pytest.mark.parametrize("value, why", [
    ("{ 1, 2, x = 3 }", "x"), ("{ [1] = 1, [3] = 3 }", "hole"), ("{ a = 0 / 0 }", "a"),
    ("{ a = { b = -math.huge } }", "b"),
    ("{ [true] = 1 }", ""), ("{ f = print }", "f"), ("'\\xff'", "UTF-8"), ("{ a = '\\xc0\\x80' }", "UTF-8"),
])
def test_encode_raises_and_says_where(serve, value, why):
    reply = lua(serve, f"local ok, err = pcall(json.encode, {value}) return {{ ok = ok, err = err }}")
    got = reply.json()
    assert got["ok"] is False
    assert why in got["err"]


def test_depth_is_limited_both_ways(serve):
    server = serve(ECHO_APP + """
        function api.deep.get(ctx)
            local t = {}
            for _ = 1, 100000 do t = { t } end
            return (pcall(json.encode, t))
        end
    """)
    assert server.post("/echo", "[" * 50 + "]" * 50).status == 200
    assert server.post("/echo", "[" * 100000 + "]" * 100000).status == 400
    assert server.post("/echo", "[" * 100000).status == 400
    assert server.get("/deep").json() is False


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 100000])
def test_arrays_of_any_length(serve, n):
    got = serve(ECHO_APP).get(f"/list?n={n}").json()
    assert got == (list(range(1, n + 1)) if n else {})


def test_no_array_is_cut_at_1000_elements(serve):
    """A fault of old: longer arrays lost their end, in replies and in bodies."""
    server = serve(ECHO_APP)
    assert server.get("/list?n=5000").json() == list(range(1, 5001))
    long = json.dumps(list(range(5000)))
    assert server.post("/echo", long).json() == list(range(5000))


def test_no_mixed_table_loses_its_hash_part_silently(serve):
    """A fault of old: { 1, 2, name = "x" } was sent as [1,2]."""
    server = serve("function api.get() return { 1, 2, name = 'x' } end")
    assert server.get("/").status == 500
    server.log.wait("GET /: .*name")


def test_keys_of_an_object_are_strings_and_numbers_as_strings(serve):
    assert lua(serve, "return { a = { ['1'] = 'x' } }").json() == {"a": {"1": "x"}}


def suite_or_skip():
    files = sorted(SUITE.glob("[yni]_*.json"))
    if not files:
        pytest.skip(f"there are no files of JSONTestSuite in {SUITE}")
    return files


def test_json_test_suite_over_the_wire(serve):
    """Its y_ files are accepted, its n_ files refused; its i_ files may be either, but not a crash."""
    files = suite_or_skip()
    server = serve("function api.post(ctx) ctx:json() return 'accepted' end")
    wrong = []
    with server.client() as client:
        for path in files:
            status = client.ask("POST", "/", {}, path.read_bytes()).status
            good = {"y": {200}, "n": {400}, "i": {200, 400}}[path.name[0]]
            if status not in good:
                wrong.append(f"{path.name}: {status}")
    assert wrong == []


def test_utf8_in_bodies_and_replies_is_checked(serve):
    server = serve(ECHO_APP)
    assert server.post("/echo", raw('"\xff"')).status == 400
    assert server.post("/echo", '"ü"'.encode()).text == '"ü"'
    assert server.post("/echo", b'"\xed\xa0\x80"').status == 400
