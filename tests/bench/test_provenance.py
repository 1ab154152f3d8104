import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import retrieval_bench
from retrieval_bench.bench import provenance


def test_versions_are_those_of_the_imported_packages():
    versions = provenance.packages(("numpy", "no-such-package"))
    assert versions["numpy"] == np.__version__
    assert set(versions) == {"python", "numpy"}


def test_hardware_is_json_and_names_the_given_accelerators():
    found = provenance.hardware(["GPU A", "GPU A"])
    assert json.loads(json.dumps(found)) == found
    assert found["accelerators"] == ["GPU A", "GPU A"]
    assert found["cores"] >= 1


def _git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package folder inside a checkout of its own, not yet committed."""
    folder = tmp_path / "retrieval_bench"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    _git(tmp_path, "init", "-q")
    monkeypatch.setattr(retrieval_bench, "__file__", str(folder / "__init__.py"))
    return folder


def test_a_commit_is_named_and_changes_are_noticed(package):
    _git(package, "add", ".")
    _git(package, "commit", "-q", "-m", "x")
    clean = provenance.code_version()
    assert (clean.commit, clean.dirty) == (_git(package, "rev-parse", "HEAD"), False)
    (package / "__init__.py").write_text("changed = True\n")
    assert provenance.code_version().dirty


def test_a_package_that_the_checkout_around_it_does_not_own_has_no_commit(package):
    Path(package.parent / "other").write_text("x")
    _git(package.parent, "add", "other")
    _git(package.parent, "commit", "-q", "-m", "x")
    code = provenance.code_version()
    assert (code.commit, code.dirty, code.version) == (None, False, retrieval_bench.__version__)
