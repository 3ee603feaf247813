"""What users typed cannot become a header of its own: through each door by which a text comes into a reply's head, a
line break, a NUL or another control character, or a bad name, is an error of the handler. The log names the header,
the client gets one 500, and nothing of the text is sent."""

import re
import textwrap

import pytest

import poolsrv

APP = """
    local function text() return api.text "sent" end
    local doors = {
        value = function(t) return text():header("X-Door", t) end,
        replaced = function(t) return text():header("X-Door", "good"):header("x-door", t) end,
        json_value = function(t) return api.json({}):header("X-Door", t) end,
        html_value = function(t) return api.html("x"):header("X-Door", t) end,
        error_value = function(t) return api.error(403, "no"):header("X-Door", t) end,
        raised_value = function(t) error(api.error(403, "no"):header("X-Door", t)) end,
        empty_value = function(t) return api.status(204):header("X-Door", t) end,
        wrapped_value = function(t)
            return coroutine.wrap(function() return text():header("X-Door", t) end)()
        end,
        content_type = function(t) return text():header("Content-Type", t) end,
        location = function(t) return api.status(302):header("Location", t) end,
        set_cookie = function(t) return text():header("Set-Cookie", t) end,
        redirect = function(t) return api.redirect(t) end,
        redirect_308 = function(t) return api.redirect(t, 308) end,
        raised_redirect = function(t) error(api.redirect(t)) end,
        name = function(t) return text():header(t, "x") end,
        error_name = function(t) return api.error(403, "no"):header(t, "x") end,
        cookie_name = function(t) return text():cookie(t, "x") end,
        cookie_value = function(t) return text():cookie("door", t) end,
        cookie_path = function(t) return text():cookie("door", "x", { path = "/" .. t }) end,
        cookie_domain = function(t) return text():cookie("door", "x", { domain = t }) end,
        cookie_same_site = function(t) return text():cookie("door", "x", { same_site = t }) end,
    }
    function api.post(ctx)
        local asked = ctx:json()
        return doors[asked.door](asked.text)
    end
    function api.hook.before(ctx) return doors[ctx:json().door](ctx:json().text) end
    function api.hook.post(ctx) return "sent" end
    function api.behind.after(ctx, reply) return doors[ctx:json().door](ctx:json().text) end
    function api.behind.post(ctx) return "sent" end
    function api.alive.get() return "alive" end
"""

CONTROLS = {
    "CR LF": "a\r\nX-Evil: evil",
    "CR LF at the end": "evil\r\n",
    "CR LF at the beginning": "\r\nX-Evil: evil",
    "a whole reply": "a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "LF": "a\nX-Evil: evil",
    "CR": "a\rX-Evil: evil",
    "NUL": "a\0evil",
    "NUL at the end": "evil\0",
    "vertical tab": "a\x0bevil",
    "DEL": "a\x7fevil",
    "escape": "a\x1b[evil",
    "a folded line": "a\r\n evil",
}
BAD_NAMES = {
    "empty": "", "a blank": "a evil", "a blank at the end": "evil ", "a tab": "a\tevil", "a colon": "evil: a", "quotes": '"evil"',
    "a letter beyond ASCII": "evil\u00e4", "brackets": "evil(a)", "a slash": "evil/a", "a semicolon": "evil;a",
    "an equals sign": "evil=a", "a comma": "evil,a",
}
BAD_COOKIE_PARTS = {"a semicolon": "a; evil=1", "a letter beyond ASCII": "evil\u00e4"}

# Each door, and how the log names what came through it.
VALUE_DOORS = {
    **dict.fromkeys(("value", "json_value", "html_value", "error_value", "raised_value", "empty_value", "wrapped_value"),
                    r"header X-Door"),
    "replaced": r"header x-door", "content_type": r"header Content-Type", "location": r"header Location",
    "set_cookie": r"header Set-Cookie",
    **dict.fromkeys(("redirect", "redirect_308", "raised_redirect"), r"header Location"),
}
COOKIE_DOORS = {
    "cookie_value": r'cookie "door": value', "cookie_path": r'cookie "door": path',
    "cookie_domain": r'cookie "door": domain', "cookie_same_site": r"cookie option same_site",
}
NAME_DOORS = {"name": r"is no name for a header", "error_name": r"is no name for a header",
              "cookie_name": r'the cookie "'}


def attacks():
    for door, log in {**VALUE_DOORS, **COOKIE_DOORS, **NAME_DOORS}.items():
        for text in CONTROLS.values():
            yield door, text, log
    for door, log in NAME_DOORS.items():
        for text in BAD_NAMES.values():
            yield door, text, log
    for door, log in COOKIE_DOORS.items():
        for text in BAD_COOKIE_PARTS.values():
            yield door, text, log


ATTACKS = {}
for _door, _text, _log in attacks():
    ATTACKS.setdefault(_door, (_log, []))[1].append(_text)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    app = tmp_path_factory.mktemp("injection") / "app.lua"
    app.write_text(textwrap.dedent(APP))
    server = poolsrv.Server(app, "--threads", "1", "--heavy-threads", "1", *poolsrv.STEADY)
    with poolsrv.Probe(server, path="/alive"):
        yield server
    server.check_end()


@pytest.mark.parametrize("target", ("/", "/hook", "/behind"))
@pytest.mark.parametrize("door", ATTACKS)
def test_no_door_lets_it_out(attacked, door, target):
    log, texts = ATTACKS[door]
    with attacked.client() as client:
        for text in texts:
            before = len(re.findall(log, attacked.log.text))
            body = poolsrv.json.dumps({"door": door, "text": text})
            client.send(poolsrv.message("POST", target, {"Content-Type": "application/json"}, body))
            reply = client.read()  # strictly: a line more would be no header, or a body too long
            assert reply.status == 500, (text, reply)
            assert b"evil" not in reply.body and "evil" not in str(reply.headers), (text, reply)
            assert not reply.all("X-Door") + reply.all("Location") + reply.all("Set-Cookie"), (text, reply)
            assert client.buffer == b""
            attacked.log.wait(log, count=before + 1)
        assert client.get("/alive").text == "alive"


def test_what_is_well_formed_passes(attacked):
    for door, text, header in (("value", "a\tb \u00e4", "X-Door"), ("name", "X-Own!", "X-Own!"), ("redirect", "/a?b#c", "Location"),
                               ("cookie_value", "a", "Set-Cookie"), ("cookie_path", "a", "Set-Cookie"),
                               ("content_type", "text/csv", "Content-Type")):
        reply = attacked.ask("POST", "/", {"Content-Type": "application/json"}, poolsrv.json.dumps({"door": door, "text": text}))
        assert reply.status < 400 and reply.header(header), reply
