"""Fetching, against a small server that speaks as much of OpenML's interface as is asked for."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets._openml as client

from p2pfl.errors import DataError
from p2pfl.learning.sources.folders import cache_folder
from p2pfl.learning.sources.images import load_images
from p2pfl.learning.sources.openml import cached_images, fetch_openml
from p2pfl.types import Array

SIDE, ROWS = 4, 14
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, SIDE * SIDE))
LABELS = np.arange(ROWS) % 10


def table() -> bytes:
    columns = [f"@ATTRIBUTE pixel{i} real" for i in range(1, SIDE * SIDE + 1)]
    classes = ",".join(map(str, range(10)))
    rows = [",".join(map(str, [*row, y])) for row, y in zip(PIXELS, LABELS, strict=True)]
    lines = ["@RELATION mnist", *columns, f"@ATTRIBUTE class {{{classes}}}", "@DATA", *rows]
    return "\n".join(lines).encode()


class Server(http.server.BaseHTTPRequestHandler):
    checksum = hashlib.md5(table(), usedforsecurity=False).hexdigest()
    requests = 0

    def do_GET(self) -> None:
        Server.requests += 1
        names = [f"pixel{i}" for i in range(1, SIDE * SIDE + 1)]
        plain = {
            "is_target": "false",
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        features = [
            {"index": str(i), "name": n, "data_type": "numeric", **plain}
            for i, n in enumerate(names)
        ]
        label = {
            "index": str(len(names)),
            "name": "class",
            "data_type": "nominal",
            **plain,
            "is_target": "true",
        }
        answers = {
            "/data/554": {
                "data_set_description": {
                    "id": "554",
                    "name": "mnist_784",
                    "description": "Digits",
                    "version": "1",
                    "format": "ARFF",
                    "status": "active",
                    "url": f"http://{self.headers['Host']}/data/v1/download/52667/mnist_784.arff",
                    "md5_checksum": Server.checksum,
                }
            },
            "/data/features/554": {"data_features": {"feature": [*features, label]}},
            "/data/qualities/554": {
                "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(ROWS)}]}
            },
        }
        if self.path.endswith(".arff"):
            content = table()
        elif self.path in answers:
            content = json.dumps(answers[self.path]).encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the tests quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("P2PFL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Server, "requests", 0)
    monkeypatch.setattr(client.time, "sleep", lambda _: None)  # It waits between retries.
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        address = f"http://127.0.0.1:{running.server_address[1]}"
        monkeypatch.setattr(client, "_DATA_INFO", address + "/data/{}")
        monkeypatch.setattr(client, "_DATA_FEATURES", address + "/data/features/{}")
        monkeypatch.setattr(client, "_DATA_QUALITIES", address + "/data/qualities/{}")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield Server
        running.shutdown()
        thread.join()


def test_what_openml_sends_becomes_a_data_set(server: type[Server]) -> None:
    data = load_images("mnist")
    assert server.requests == 4
    assert data.train_x.shape == (12, 1, SIDE, SIDE)
    assert data.train_y.tolist() == LABELS[:12].tolist()
    assert data.test_x is not None
    assert np.array_equal(data.test_x.reshape(2, -1), PIXELS[12:])


def test_it_is_fetched_once_and_nothing_else_stays_in_the_cache(server: type[Server]) -> None:
    first = load_images("mnist")
    asked = server.requests
    second = load_images("mnist")
    assert server.requests == asked
    assert np.array_equal(first.train_x, second.train_x)
    assert [path.name for path in cache_folder("mnist").iterdir()] == ["openml.npz"]


@pytest.mark.usefixtures("server")
def test_a_download_with_another_checksum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "checksum", "0" * 32)
    with pytest.raises(DataError, match=r"mnist: cannot fetch it from OpenML .*checksum"):
        load_images("mnist")


@pytest.mark.usefixtures("server")
def test_a_server_that_fails_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"fashion-mnist: cannot fetch it from OpenML .*404"):
        fetch_openml("fashion-mnist")


def test_two_who_fetch_at_once_both_end_with_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    together = threading.Barrier(4)
    results: list[Array] = []

    def fetch(_: str) -> tuple[Array, Array]:
        together.wait()
        return PIXELS, LABELS

    def load() -> None:
        results.append(cached_images("mnist", fetch=fetch)[0])

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(r.reshape(ROWS, -1), PIXELS) for r in results)


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(DataError, match=r"openml\.npz: cannot be written \(no space left"):
        cached_images("mnist", fetch=lambda _: (PIXELS, LABELS))
    assert list(cache_folder("mnist").iterdir()) == []


def test_a_torn_cache_says_which_file_to_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_folder("mnist") / "openml.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK torn")
    with pytest.raises(DataError, match=r"openml\.npz: torn .*delete it"):
        cached_images("mnist")


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((3, 15)), r"sent \(3, 15\) pixels for 3 labels"),
        (np.zeros((2, 16)), r"sent \(2, 16\) pixels for 3 labels"),
        (np.full((3, 16), 0.5), "pixels that are no bytes"),
        (np.zeros(3), r"sent \(3,\) pixels"),
    ],
)
def test_what_is_no_table_of_square_images_is_refused_and_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Array, sentence: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=sentence):
        cached_images("mnist", fetch=lambda _: (pixels, np.zeros(3)))
    assert not (cache_folder("mnist") / "openml.npz").exists()
