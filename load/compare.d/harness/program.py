"""The program: choose, build and install, drive, report."""

import sys

from . import figures, interrupts, report, results as results_of
from .clients import Clients
from .options import parse
from .server import load
from .session import Session, say
from .tools import CannotRun, Tools


def _measure(options):
    tools = Tools(say)
    tools.build(options.install)
    servers = [load(name) for name in options.servers]
    if options.install:
        tools.install(servers)
    reasons = {server: tools.missing(server) for server in servers}
    missing = [{"name": server.name, "title": server.title, "why": why} for server, why in reasons.items() if why]
    for gone in missing:
        say(f"{gone['name']} is left out: {gone['why']}")
    able = [server for server in servers if not reasons[server]]
    options.machine = tools.machine()
    return Session(options, tools, Clients(tools), able, missing).run()


def _write(results, options):
    for file in (options.json, options.markdown):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        results_of.write(results, options.json)
    if options.svg:
        figures.write(results, options.svg)
    if options.markdown:
        report.write_markdown(results, options.markdown, options.svg)


def main(arguments):
    """Returns: the exit code."""
    options = parse(arguments)
    interrupts.install()
    try:
        results = results_of.read(options.source) if options.source else _measure(options)
    except (CannotRun, OSError, ValueError) as why:
        say(f"load/compare: {why}")
        return 2
    say("")
    print(report.text(results))
    _write(results, options)
    return 1 if results_of.any_failed(results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
