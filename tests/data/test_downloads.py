"""Fetching by name, against a server of our own that breaks off, lies, or is not there."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import pytest

from jaxbackprop.data import DOWNLOADS, DataError, downloads
from jaxbackprop.data.downloads import Download, data_folder, get, here

pytest.importorskip("pooch", reason="pooch does the downloading")
CONTENT = bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the first `breaks` answers stop in the middle."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks, self.ranges = CONTENT, 0, True
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = cast(Server, self.server)
        asked = self.headers["Range"]
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        body = server.content[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    monkeypatch.setitem(downloads.DOWNLOADS, "ours", Download("for the test", address, {"file.bin": checksum}))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once_and_checked(server, tmp_path):
    assert here("ours", tmp_path) is None
    folder = get("ours", folder=tmp_path)
    assert folder == tmp_path / "ours"
    assert (folder / "file.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["file.bin"]
    assert here("ours", tmp_path) == tmp_path / "ours"
    get("ours", folder=tmp_path)
    assert server.asked == [None]


def test_a_download_that_broke_off_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = 1
    with pytest.raises(
        DataError, match=r"no way to fetch .*\n.*what has arrived is kept.*put file.bin into the folder"
    ):
        get("ours", folder=tmp_path)
    arrived = (tmp_path / "ours" / "file.bin.part").stat().st_size
    assert 0 < arrived < len(CONTENT)
    get("ours", folder=tmp_path)
    assert server.asked == [None, f"bytes={arrived}-"]
    assert (tmp_path / "ours" / "file.bin").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_sends_all_again(server, tmp_path):
    server.breaks, server.ranges = 1, False
    with pytest.raises(DataError):
        get("ours", folder=tmp_path)
    get("ours", folder=tmp_path)
    assert (tmp_path / "ours" / "file.bin").read_bytes() == CONTENT


def test_a_part_that_was_already_whole_is_taken(server, tmp_path):
    part = tmp_path / "ours" / "file.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert (get("ours", folder=tmp_path) / "file.bin").read_bytes() == CONTENT


def test_a_file_with_another_checksum_does_not_stay(server, tmp_path):
    server.content = b"a page that says you must log in"
    with pytest.raises(DataError, match=r"another file than expected at .*expected sha256:"):
        get("ours", folder=tmp_path)
    assert not any((tmp_path / "ours").iterdir())


def test_a_file_that_was_put_there_and_is_another_is_not_overwritten(server, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "file.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"file.bin: found a file with another checksum.*\n.*Remove the file"):
        get("ours", folder=tmp_path)
    assert (tmp_path / "ours" / "file.bin").read_bytes() == b"mine"


def test_without_a_network_it_says_which_file_to_put_where(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="no way to fetch") as error:
        get("ours", folder=tmp_path)
    assert f"put file.bin into the folder {tmp_path / 'ours'} yourself" in str(error.value)


def test_progress_is_told_as_it_arrives(server, tmp_path):
    told = []
    get("ours", folder=tmp_path, progress=lambda *what: told.append(what))
    assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_what_is_there_is_held_to_its_checksum(server, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"file\.bin: found a file with another checksum"):
        here("ours", tmp_path)


def test_a_name_that_is_none_suggests_one():
    with pytest.raises(DataError, match=r"found the name 'mnits', expected one of mnist, .*\n.*Did you mean mnist"):
        get("mnits")


def test_the_folder_can_be_set_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXBACKPROP_DATA", str(tmp_path))
    assert data_folder("mnist") == tmp_path / "mnist"
    monkeypatch.delenv("JAXBACKPROP_DATA")
    assert data_folder("mnist").name == "mnist"


def test_the_checksums_are_those_of_the_files_that_are_here(shared_data):
    """Of the four MNIST files here, those whose compressed bytes are the original ones too."""
    hashes = {
        name: "md5:" + hashlib.md5((shared_data / "mnist" / name).read_bytes()).hexdigest()
        for name in DOWNLOADS["mnist"].files
    }
    assert hashes["t10k-labels-idx1-ubyte.gz"] == DOWNLOADS["mnist"].files["t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("name", DOWNLOADS)
def test_every_set_says_who_made_it_and_has_whole_checksums(name):
    download = DOWNLOADS[name]
    assert "(" in download.about
    assert download.address.startswith("http")
    assert download.address.endswith("/")
    for checksum in download.files.values():
        kind, digest = checksum.split(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
