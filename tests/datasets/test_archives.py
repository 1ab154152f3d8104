"""No archive writes outside its folder, and a refused one leaves nothing."""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from retrieval_bench.datasets.archives import is_archive, unpack
from retrieval_bench.datasets.errors import DataError


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as out:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                out.addfile(info, io.BytesIO(member[1]))
            else:
                out.addfile(member)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path: Path, *members: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            out.writestr(info, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


MEMBERS = (("top/list.txt", b"one"), ("top/images/a.jpg", b"two"), ("beside.txt", b"three"))


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_contents_land_in_the_folder_beside_what_is_there(tmp_path: Path, name: str):
    archive = (zipped if name.endswith("zip") else tar)(tmp_path / name, *MEMBERS)
    (tmp_path / "root" / "top").mkdir(parents=True)
    (tmp_path / "root" / "top" / "own.txt").write_bytes(b"mine")
    (tmp_path / "root" / "top" / "list.txt").write_bytes(b"broken")
    unpack(archive, tmp_path / "root")
    assert tree(tmp_path / "root") == {**dict(MEMBERS), "top/own.txt": b"mine"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, "root"]


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (("../evil.txt", b"x"), "leads outside"),
        (("top/../../evil.txt", b"x"), "leads outside"),
        (("/evil.txt", b"x"), "leads outside"),
        (("top\\..\\..\\evil.txt", b"x"), "leads outside"),
        (("C:evil.txt", b"x"), "leads outside"),
        (special("top/link", tarfile.SYMTYPE, "../../evil"), "a link"),
        (special("top/link", tarfile.SYMTYPE, "/etc"), "a link"),
        (special("top/link", tarfile.LNKTYPE, "../../evil"), "a link"),
        (special("top/disk", tarfile.BLKTYPE), "a device"),
        (special("top/terminal", tarfile.CHRTYPE), "a device"),
        (special("top/pipe", tarfile.FIFOTYPE), "a device"),
    ],
)
def test_a_malicious_tar_is_refused_and_nothing_is_unpacked(
    tmp_path: Path, member: tarfile.TarInfo | tuple[str, bytes], what: str
):
    archive = tar(tmp_path / "a.tar", MEMBERS[0], member, MEMBERS[1])
    with pytest.raises(DataError, match=what):
        unpack(archive, tmp_path / "root")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_a_link_is_not_followed_by_later_members(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    link = special("top", tarfile.SYMTYPE, str(tmp_path / "outside"))
    with pytest.raises(DataError, match="a link"):
        unpack(tar(tmp_path / "a.tar", link, ("top/evil.txt", b"x")), tmp_path / "root")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "top/../../evil.txt", "C:/evil.txt"])
def test_a_malicious_zip_is_refused_and_nothing_is_unpacked(tmp_path: Path, name: str):
    archive = zipped(tmp_path / "a.zip", MEMBERS[0], (name, b"x"))
    with pytest.raises(DataError, match="leads outside"):
        unpack(archive, tmp_path / "root")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path):
    archive = zipped(tmp_path / "a.zip", ("link", b"/etc"), mode=stat.S_IFLNK | 0o777)
    with pytest.raises(DataError, match="a link"):
        unpack(archive, tmp_path / "root")


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_a_damaged_archive_is_named_and_nothing_is_unpacked(tmp_path: Path, name: str):
    big = (("top/big.bin", bytes(range(256)) * 400), *MEMBERS)
    archive = (zipped if name.endswith("zip") else tar)(tmp_path / name, *big)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        unpack(archive, tmp_path / "root")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_a_bomb_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    archive = (zipped if name.endswith("zip") else tar)(tmp_path / name, ("zeros.bin", bytes(100_000)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 0, 99_999))
    with pytest.raises(DataError, match="99,999 bytes"):
        unpack(archive, tmp_path / "root")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_only_archives_are_unpacked():
    assert [is_archive(Path(x)) for x in ("a.tgz", "A.TAR.GZ", "a.zip", "a.mat", "a.txt", "tar")] == [
        *[True] * 3,
        *[False] * 3,
    ]
