"""No part of the service makes code of data: nothing that is sent or stored is ever run.

Functions are files in a directory of the operator's, and no request writes there.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = Path(__file__).parents[2] / "src" / "aieye"
# What turns data into code, or starts a program: nothing here may, whoever asks.
RUNS_CODE = {"exec", "eval", "compile", "__import__", "system", "popen", "fork", "execv", "spawnv"}
# Those that may, each in its one way: run a file of functions, start a worker process for them, and
# write the constructors of our own nodes out of the names of their fields, when they are imported.
ALLOWED = {
    "functions/module.py": ["exec", "compile"],
    "functions/process.py": ["['', 'subprocess']"],
    "pipeline/language/frozen.py": ["exec"],
}
LOADS_CODE = {"pickle", "marshal", "shelve", "dill", "yaml", "subprocess", "ctypes", "code"}


def _code_from_data(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            owner = getattr(getattr(node.func, "value", None), "id", None)
            if name in RUNS_CODE and owner != "re":
                yield f"{name}, line {node.lineno}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = {module, *(alias.name for alias in node.names)}
            if {name.partition(".")[0] for name in names} & LOADS_CODE:
                yield f"{sorted(names)}, line {node.lineno}"


def test_no_part_of_the_service_makes_code_of_data_or_starts_a_program() -> None:
    assert len(list(_code_from_data("import pickle\nos.system('x')\neval('1')"))) == 3
    found = {
        str(path.relative_to(SOURCE)): list(_code_from_data(path.read_text()))
        for path in SOURCE.rglob("*.py")
    }
    assert len(found) > 100
    kinds = {
        path: [line.partition(", line")[0] for line in lines]
        for path, lines in found.items()
        if lines
    }
    assert kinds == ALLOWED


def test_no_operation_writes_functions_and_the_page_for_authors_says_whom_they_trust() -> None:
    document = json.loads((DOCS / "openapi.json").read_text())
    found = {
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if "functions" in path
    }
    assert found == {
        "get /api/v1/functions",
        "get /api/v1/functions/{id}",
        "patch /api/v1/functions/{id}",
        "post /api/v1/functions/sync",
    }
    # What a function is described as is all that is ever written, and never run.
    sent = document["paths"]["/api/v1/functions/{id}"]["patch"]["requestBody"]["content"]
    body = sent["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][body]["properties"]) == {"description"}
    assert "requestBody" not in document["paths"]["/api/v1/functions/sync"]["post"]
    assert "**Functions are trusted code.**" in (DOCS / "functions.md").read_text()
