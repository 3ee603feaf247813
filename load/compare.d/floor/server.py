"""The floor: a bare epoll loop that reads nothing and always answers the small JSON."""

from harness.server import Server


class Floor(Server):
    title = "floor (bare epoll)"
    cases = ("json-16", "json-64", "json-512", "connection")
    keep_alive = "for ever; in the case `connection` none (--close)"
    logging = "none"
    more = "one recv and one send a request, no parser, no handler"

    def threads_text(self, workers):
        return f"{workers}, a listening socket each"

    def command(self, place):
        command = [place.tools.floor, "--port", "0", "--threads", str(place.workers)]
        return command + (["--close"] if place.case.closes else [])
