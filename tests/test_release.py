"""tools/release.py: what a package has to contain, and where its version is."""

import sys
import tarfile
import zipfile
from pathlib import Path

import convoy

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import release  # noqa: E402

TRACKED = ["Makefile", "src/convoy/errors.py", "src/convoy/insight/page.css", "jobs/train.py", "tests/test_release.py"]
WHEEL = {"convoy/errors.py", "convoy/insight/page.css", "convoy/jobs/train.py", "convoy_ml-1.0.0.dist-info/METADATA"}


def test_the_changelog_dates_the_version():
    assert release.dated_version((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == convoy.__version__


def test_a_version_without_a_date_does_not_count():
    assert release.dated_version("# Changelog\n\n## [Unreleased]\n\n## [1.2.0]\n\n## [1.1.0] - 2026-12-01\n") == "1.1.0"
    assert release.dated_version("# Changelog\n\n## [Unreleased]\n") is None


def test_a_file_that_the_sdist_lacks_is_named():
    assert release.missing_in_sdist(TRACKED, {*TRACKED, "PKG-INFO"}) == []
    (problem,) = release.missing_in_sdist(TRACKED, {*TRACKED} - {"Makefile"})
    assert "Makefile" in problem


def test_the_wheel_has_the_package_and_nothing_else():
    assert release.differences_of_wheel(TRACKED, WHEEL) == []
    (lacking,) = release.differences_of_wheel(TRACKED, WHEEL - {"convoy/insight/page.css"})
    assert "lacks convoy/insight/page.css" in lacking
    (foreign,) = release.differences_of_wheel(TRACKED, WHEEL | {"tests/test_release.py"})
    assert "has tests/test_release.py" in foreign


def test_names_are_those_of_files_in_both_kinds_of_package(tmp_path):
    (tmp_path / "a.py").write_text("")
    (tmp_path / "link.txt").symlink_to("a.py")
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as wheel:
        wheel.write(tmp_path / "a.py", "convoy/a.py")
    with tarfile.open(tmp_path / "p-1.0.0.tar.gz", "w:gz") as sdist:
        for name in ("a.py", "link.txt"):
            sdist.add(tmp_path / name, f"p-1.0.0/{name}")
    assert release.names_in(tmp_path / "p.whl") == {"convoy/a.py"}
    assert release.names_in(tmp_path / "p-1.0.0.tar.gz") == {"a.py", "link.txt"}


def test_the_pipeline_that_is_tried_has_fields_of_the_configuration():
    convoy.load(None, {name: int(value) if value.isdigit() else value for name, value in release._PIPELINE.items()})
