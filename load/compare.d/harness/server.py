"""What the folder of a server says of it: a subclass of Server in its server.py.

Each server is set up as its own documentation advises for speed. Its folder holds the configuration and the app;
what is worth knowing about the set-up stands in the class, since it is printed with every result.
"""

import glob
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
ROOT = FOLDER.parents[1]

# In the order of the tables.
NAMES = ("floor", "poolsrv", "nginx", "haproxy", "apache", "node", "fastify", "bun")


@dataclass(frozen=True)
class Need:
    """A command in the path, or a file as a pattern, and the Debian package that brings it."""

    what: str
    package: str

    def is_there(self):
        return bool(glob.glob(self.what)) if self.what.startswith("/") else shutil.which(self.what) is not None


class Server:
    title = ""
    needs = ()
    npm = ()  # names of packages in load/compare.d/package.json
    cases = None  # names of those it can do; None is all
    version_command = None
    warm_up = 1  # how many times the usual time, for compilers that begin late
    keep_alive = ""
    logging = ""
    more = ""

    def __init__(self, name):
        self.name = name

    def missing(self, tools):
        """Why it cannot run here although its packages are there, or None."""
        return None

    def threads_text(self, workers):
        raise NotImplementedError

    def environment(self, place):
        return {}

    def command(self, place):
        """Put its files into the place; returns the command that serves in the foreground."""
        raise NotImplementedError

    def can(self, case):
        return self.cases is None or case.name in self.cases

    def version(self, tools):
        """What it says of itself, or the versions of its npm packages; empty when it has none."""
        if not self.version_command:
            return " ".join(tools.npm_versions[name] for name in self.npm)
        command = [tools.fill(word) for word in self.version_command]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        found = re.search(r"\d+(\.\d+)+[\w.+~-]*", done.stdout + done.stderr)
        return found[0] if found else ""


class Place:
    """A folder of one server process, with its port: where its files are put, and filled in."""

    def __init__(self, folder, workers, port, case, tools):
        self.folder = str(folder)
        self.workers = workers
        self.port = port
        self.case = case
        self.tools = tools

    def path(self, name):
        return os.path.join(self.folder, name)

    def copy(self, *files):
        for file in files:
            shutil.copyfile(ROOT / file, self.path(Path(file).name))

    def fill(self, file, **more):
        """Copy a file with its @WORDS@ filled in."""
        text = (ROOT / file).read_text()
        for word, value in {**self.words(), **more}.items():
            text = text.replace(f"@{word}@", str(value))
        Path(self.path(Path(file).name)).write_text(text)

    def words(self):
        return {"FOLDER": self.folder, "PORT": self.port, "WORKERS": self.workers, **self.tools.user_and_group}


def load(name):
    """The server of that name, from its folder."""
    spec = importlib.util.spec_from_file_location(f"compare_{name}", FOLDER / name / "server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [value for value in vars(module).values()
             if isinstance(value, type) and issubclass(value, Server) and value is not Server]
    return found[0](name)
