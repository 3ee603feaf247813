"""The load scripts' modules lie beside them, in load/."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "load"))
