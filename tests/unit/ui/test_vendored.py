"""What of others is served to browsers is what was released, and said so."""

from __future__ import annotations

import hashlib
import json

from aieye.ui import static

VENDORED = json.loads((static.DIRECTORY / "vendored.json").read_text())


def test_each_file_of_others_is_the_one_that_is_listed() -> None:
    for entry in VENDORED["files"]:
        content = (static.DIRECTORY / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]


def test_each_package_has_its_licence_beside_it() -> None:
    notices = (static.DIRECTORY / "LICENSES.txt").read_text()
    for entry in [*VENDORED["files"], *VENDORED["compiled"]]:
        assert f"{entry['package']} {entry['version']} ({entry['licence']})" in notices


def test_no_file_names_a_place_elsewhere() -> None:
    for path in static.DIRECTORY.glob("*.css"):
        assert "@import" not in path.read_text()
        assert "url(http" not in path.read_text()
