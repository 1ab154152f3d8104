"""Downloads resume, are checked, and leave nothing wrong behind; all against a server on this machine."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval_bench.datasets import base, dataset_class
from retrieval_bench.datasets import download as download_module
from retrieval_bench.datasets.cards import Archive, Card, load_card
from retrieval_bench.datasets.cub import Cub200
from retrieval_bench.datasets.download import download, fetch, is_complete
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.miniature import MARKER, synthesize
from retrieval_bench.datasets.subset import cut_subset

CONTENT = bytes(i * i % 251 for i in range(200_000))


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` and misbehaves as told."""

    files: dict[str, bytes]
    ranges = True
    wrong_range = False
    lengths = True
    statuses: list[int]  # answered first, one a request
    cuts: list[int]  # bytes of the body after which the connection ends, one a request
    asked: list[str | None]  # the Range header of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
            return
        body, start = self.server.files[self.path], 0
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            first = start + 1 if self.server.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.files, running.statuses, running.cuts, running.asked = {"/a.bin": CONTENT}, [], [], []
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def published(server: Server, content: bytes = CONTENT, **facts: object) -> Archive:
    known = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **facts}
    return Archive(file="a.bin", url=f"{server.url}/a.bin", **known)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_arrives_whole_and_its_progress_is_told(server: Server, tmp_path: Path):
    told: list[tuple[int, int | None]] = []
    file = fetch(published(server), tmp_path, progress=lambda done, total: told.append((done, total)))
    assert file.read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert server.asked == [None]


def test_a_cut_connection_is_resumed_at_the_byte_it_was_cut(server: Server, tmp_path: Path):
    server.cuts = [50_000, 70_000]
    assert fetch(published(server), tmp_path, pause_s=0).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=50000-", "bytes=120000-"]


def test_an_interrupted_download_is_taken_up_by_the_next_call(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:123_456])
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=123456-"]
    assert names(tmp_path) == ["a.bin"]


def test_a_complete_part_is_not_fetched_again(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path, size: int | None):
    server.ranges = False
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(published(server, bytes=size), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_server_that_tells_no_length_is_trusted_by_the_card(server: Server, tmp_path: Path):
    server.lengths = False
    server.cuts = [10_000]
    assert fetch(published(server), tmp_path, pause_s=0).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=10000-"]


def test_a_part_of_an_older_edition_is_fetched_from_the_start(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(b"old" * 1000)
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=3000-", None]


def test_a_part_longer_than_the_file_is_fetched_from_the_start(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(published(server), tmp_path, pause_s=0).read_bytes() == CONTENT


def test_a_wrong_checksum_is_an_error_and_the_file_is_removed(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match=rf"its md5 is {hashlib.md5(CONTENT).hexdigest()}, 0{{32}} is expected"):
        fetch(published(server, sha256=None, md5="0" * 32), tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_length_is_an_error(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match="200,000 bytes, 199,999 are expected"):
        fetch(published(server, bytes=len(CONTENT) - 1), tmp_path, pause_s=0)
    assert names(tmp_path) == []


def test_a_file_put_there_by_hand_is_checked_and_kept(server: Server, tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert fetch(published(server), tmp_path) == tmp_path / "a.bin"
    (tmp_path / "a.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the published file"):
        fetch(published(server), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"something else"
    assert server.asked == []


def test_passing_troubles_of_the_server_are_waited_out(server: Server, tmp_path: Path):
    server.statuses = [503, 429, 500]
    assert fetch(published(server), tmp_path, pause_s=0).read_bytes() == CONTENT


def test_lasting_troubles_are_named_and_what_came_is_kept(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:500])
    server.statuses = [503] * 9
    with pytest.raises(DataError, match=r"a\.bin cannot be fetched: the server answered 503 .* kept in .*a\.bin\.part"):
        fetch(published(server), tmp_path, attempts=3, pause_s=0)
    assert len(server.asked) == 3
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:500]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_is_an_error_at_once(server: Server, tmp_path: Path, status: int):
    server.statuses = [status]
    with pytest.raises(DataError, match=rf"answered {status} .*home page"):
        fetch(published(server), tmp_path)
    assert len(server.asked) == 1


def test_another_range_than_asked_for_is_never_appended(server: Server, tmp_path: Path):
    server.wrong_range = True
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:500])
    with pytest.raises(DataError, match="another range"):
        fetch(published(server), tmp_path, attempts=2, pause_s=0)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:500]


def test_an_unreachable_server_is_an_error(server: Server, tmp_path: Path):
    archive = published(server)
    server.server_close()  # nobody listens there any more
    with pytest.raises(DataError, match=r"cannot be fetched: .*refused"):
        fetch(archive, tmp_path, attempts=2, pause_s=0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.bin", None])
def test_only_web_addresses_are_fetched(tmp_path: Path, url: str | None):
    with pytest.raises(DataError, match="no address that can be fetched"):
        fetch(Archive(file="a.bin", url=url), tmp_path)


# The whole way: card, archives, unpacked data set.


@pytest.fixture
def cub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """CUB's card, its archive a miniature on the local server."""
    monkeypatch.setattr("retrieval_bench.datasets.miniature.cub.IMAGES_PER_CLASS", 2)
    source = synthesize("cub", tmp_path / "source")
    (source / MARKER).unlink()
    counts = {p.name: dataset_class("cub")(source, p.name).table.counts() for p in Cub200.protocols}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(source / "CUB_200_2011", "CUB_200_2011")
    shutil.rmtree(source)
    server.files["/a.tgz"] = packed.getvalue()
    archive = Archive(
        file="CUB_200_2011.tgz",
        url=f"{server.url}/a.tgz",
        bytes=len(packed.getvalue()),
        md5=hashlib.md5(packed.getvalue()).hexdigest(),
    )
    facts = {**vars(load_card("cub")), "archives": (archive,), "counts": counts}
    card = Card(**facts)
    for module in (base, download_module):
        monkeypatch.setattr(module, "load_card", lambda _: card)
    return card


def test_a_data_set_is_fetched_unpacked_and_read(server: Server, cub: Card, tmp_path: Path):
    root = tmp_path / "data" / "cub"
    server.cuts = [20_000]
    told: list[tuple[int, int | None]] = []
    download("cub", root, progress=lambda done, total: told.append((done, total)))
    assert len(dataset_class("cub")(root).table) == 40
    assert names(root) == ["CUB_200_2011", "CUB_200_2011.tgz"]
    assert names(root.parent) == ["cub"]
    assert told[-1] == (cub.archives[0].bytes, cub.archives[0].bytes)
    assert len(server.asked) == 2


def test_a_complete_data_set_is_left_alone(server: Server, cub: Card, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    download("cub", tmp_path / "cub")
    requests = len(server.asked)
    (tmp_path / "cub" / "CUB_200_2011.tgz").unlink()
    with caplog.at_level("INFO"):
        download("cub", tmp_path / "cub")
    assert "already complete" in caplog.text
    assert len(server.asked) == requests


def test_a_data_set_that_lost_a_picture_is_completed(cub: Card, tmp_path: Path):
    download("cub", tmp_path / "cub")
    lost = dataset_class("cub")(tmp_path / "cub").image_path(7)
    lost.unlink()
    assert not is_complete("cub", tmp_path / "cub")
    download("cub", tmp_path / "cub")
    assert lost.is_file()
    assert is_complete("cub", tmp_path / "cub")


def test_a_miniature_or_a_part_is_never_taken_for_the_data_set(server: Server, cub: Card, tmp_path: Path):
    drawn = synthesize("cub", tmp_path / "drawn")
    with pytest.raises(DataError, match=r"holds a miniature of CUB.*\(edition miniature-.*--root"):
        download("cub", drawn)
    part = cut_subset(dataset_class("cub")(drawn), tmp_path / "part", classes=2, images_per_class=2)
    with pytest.raises(DataError, match=r"holds a part of CUB.*\(edition partial-.*--root"):
        download("cub", part)
    dataset_class("cub")(part).image_path(0).unlink()  # still no place to unpack into
    with pytest.raises(DataError, match="holds a part of CUB"):
        download("cub", part)
    assert server.asked == []


def test_too_little_room_is_said_before_anything_is_fetched(
    server: Server, cub: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def nearly_full(_: Path) -> object:
        return shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(DataError, match=r"needs about .* GB"):
        download("cub", tmp_path / "cub")
    assert server.asked == []


@pytest.mark.parametrize("name", ["cars196", "inshop"])
def test_what_may_not_be_fetched_is_explained(name: str, tmp_path: Path):
    card = load_card(name)
    with pytest.raises(DataError) as caught:
        download(name, tmp_path / name)
    for part in (str(card.manual_reason), card.unpacked[-1], str(tmp_path / name), "data verify"):
        assert part in str(caught.value)
    assert names(tmp_path) == []
