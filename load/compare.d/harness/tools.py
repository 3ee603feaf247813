"""The programs: poolsrv and the load clients are built, the other servers installed where that is possible."""

import glob
import grp
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from .server import FOLDER, ROOT

NPM_FOLDER = ROOT / "build" / "compare" / "npm"
INSTALL_TIMEOUT_S = 600


class CannotRun(Exception):
    """There is no point in going on."""


def _lib(command, *arguments):
    """Run a function of load/lib.sh; returns what it prints."""
    done = subprocess.run(["bash", "-c", f'. "$0" && {command} "$@"', str(ROOT / "load" / "lib.sh"), *arguments],
                          stdout=subprocess.PIPE, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise CannotRun(f"{command} {' '.join(arguments)} failed")
    return done.stdout.strip()


class Tools:
    def __init__(self, say):
        self.say = say
        self.poolsrv = self.floor = self.closedloop = self.openloop = None
        self.node_modules = str(NPM_FOLDER / "node_modules")
        self.npm_versions = {}
        self.user_and_group = _user_and_group()

    @property
    def bun(self):
        """The program in Bun's npm package, of the kind for this machine."""
        found = sorted(glob.glob(f"{self.node_modules}/@oven/bun-linux-*/bin/bun"), key=len)
        return found[0] if found else None

    def fill(self, word):
        return {"@POOLSRV@": self.poolsrv, "@BUN@": self.bun}.get(word, word)

    def build(self, install):
        """What is of this tree. With POOLSRV set to a program, that is taken, and the clients from beside it."""
        if not os.environ.get("POOLSRV"):
            self._build_all(install)
        self.poolsrv = _lib("poolsrv_path")
        self.floor, self.closedloop, self.openloop = (
            _lib("load_program", name) for name in ("floor", "closedloop", "openloop"))

    def _build_all(self, install):
        self.say("building poolsrv and the load clients")
        if install:
            subprocess.run([str(ROOT / "script" / "packages"), "build"], stdout=subprocess.DEVNULL,
                           timeout=INSTALL_TIMEOUT_S, check=False)
        done = subprocess.run([str(ROOT / "script" / "build"), "release", "poolsrv", "load_floor", "load_openloop",
                               "load_closedloop"], stdout=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise CannotRun("the build failed; script/packages build installs what it needs")

    def install(self, servers):
        """What the servers need, of Debian's packages and npm's. Whatever fails is seen by missing()."""
        for server in servers:
            self._install_packages(server)
        self._install_npm([name for server in servers for name in server.npm])

    def _install_packages(self, server):
        packages = sorted({need.package for need in server.needs if not need.is_there()})
        if packages:
            self.say(f"{server.name} needs {' '.join(packages)}")
            subprocess.run([str(ROOT / "script" / "packages"), "these", *packages], stdout=subprocess.DEVNULL,
                           timeout=INSTALL_TIMEOUT_S, check=False)

    def _install_npm(self, names):
        wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
        self._look_at_npm()
        if all(self.npm_versions.get(name) == wanted[name] for name in names) or not shutil.which("npm"):
            return
        self.say(f"installing {' '.join(f'{name} {wanted[name]}' for name in names)} into {NPM_FOLDER}")
        NPM_FOLDER.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FOLDER / "package.json", NPM_FOLDER / "package.json")
        subprocess.run(["npm", "install", "--prefix", str(NPM_FOLDER), "--ignore-scripts", "--no-package-lock",
                        "--no-audit", "--no-fund", "--loglevel=error"], stdout=subprocess.DEVNULL,
                       timeout=INSTALL_TIMEOUT_S, check=False)
        self._look_at_npm()

    def _look_at_npm(self):
        for file in Path(self.node_modules).glob("*/package.json"):
            self.npm_versions[file.parent.name] = json.loads(file.read_text()).get("version")

    def missing(self, server):
        """Why the server cannot run here, or None."""
        gone = [need for need in server.needs if not need.is_there()]
        if gone:
            return f"{gone[0].what} is missing: apt install {gone[0].package}"
        self._look_at_npm()
        absent = [name for name in server.npm if name not in self.npm_versions]
        if absent:
            return f"the npm package {absent[0]} could not be installed"
        return server.missing(self)

    @staticmethod
    def machine():
        """Lines on the machine and its load."""
        return _lib("set_up_text").splitlines()


def _user_and_group():
    """Who serves. Apache refuses to serve as root, and nginx has its workers change, so root gives them nobody."""
    uid = os.geteuid() or pwd.getpwnam("nobody").pw_uid
    user = pwd.getpwuid(uid)
    return {"USER": user.pw_name, "GROUP": grp.getgrgid(user.pw_gid).gr_name}
