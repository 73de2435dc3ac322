"""How `aieye` is called on this machine, for the texts that tell people what to type."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

NAME = "aieye"


def program() -> str:
    """`aieye` where PATH finds this installation's, else its path from the present directory.

    Never an absolute path: pages that anybody may see say it too.
    """
    installed = Path(sys.executable).with_name(NAME)
    found = shutil.which(NAME)
    if not installed.exists() or (found is not None and installed.samefile(found)):
        return NAME
    try:
        return str(installed.relative_to(Path.cwd()))
    except ValueError:
        return NAME
