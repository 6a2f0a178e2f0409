"""Tracking servers that hang, refuse or answer nonsense cost seconds, and the cause is readable."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_studies import fake_study

from galatune.errors import ReportError
from galatune.report.savings import savings
from galatune.report.sinks import Delivery
from galatune.study.ledger.rows import ledger
from galatune_mlflow import patience
from galatune_mlflow.patience import failure, seconds_for, within
from galatune_mlflow.sink import MlflowSink


class Away(BaseHTTPRequestHandler):
    """Answers as the first part of the path says; the server counts the requests."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, AwayServer)
        server.requests += 1
        kind = self.path.split("/")[1]
        if kind == "silent":
            server.ended.wait()
        elif kind == "drip":
            self._drip(server.ended)
        elif kind == "redirect":
            self._answer(302, b"", Location=self.path)
        elif kind == "page":
            self._answer(200, b"<html>\n<h1>Sign in</h1></html>")
        else:
            self._answer(int(kind), b"<html>", **({"Retry-After": "3600"} if kind == "429" else {}))

    do_POST = do_GET  # noqa: N815  # the name that http.server looks for

    def _drip(self, ended: threading.Event) -> None:
        self.send_response(200)
        self.end_headers()
        while not ended.wait(0.05):
            self.wfile.write(b" ")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class AwayServer(ThreadingHTTPServer):
    daemon_threads = True
    requests = 0

    def handle_error(self, *_: object) -> None:
        """The client is gone."""


@pytest.fixture
def server(port: int) -> Iterator[AwayServer]:
    with AwayServer(("127.0.0.1", port), Away) as running:
        running.ended = threading.Event()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join()


def deliver() -> Delivery:
    old, new = fake_study([3.0, 1.0]), fake_study([1.0], name="n", controlled=True)
    return Delivery(savings(old, new), ledger(old), ledger(new), "<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("silent", "no complete answer within 1 s"),
        ("drip", "no complete answer within 1 s"),
        ("redirect", "redirects"),
        ("page", "not in a valid JSON format"),
        ("404", "404"),
        ("429", "too many 429 error responses"),
        ("500", "too many 500 error responses"),
        ("503", "too many 503 error responses"),
    ],
)
def test_a_server_without_an_answer_ends_in_its_cause(
    server: AwayServer, kind: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CALL_SECONDS", 1.0 if kind in ("silent", "drip") else 60.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with pytest.raises(ReportError) as caught:
        MlflowSink().send(deliver(), f"http://ada:s3cret@127.0.0.1:{server.server_port}/{kind}")
    message = str(caught.value)
    assert cause in message
    assert "\n" not in message
    assert "s3cret" not in message
    assert "sends what is missing later" in message
    assert len(message) < 600
    assert server.requests <= 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_a_hanging_server_never_keeps_the_process(server: AwayServer, kind: str, tmp_path: Path) -> None:
    for name, file in (("old", "old.db"), ("old-gala", "old-gala.db")):
        fake_study([2.0, 1.0], name=name, storage=f"sqlite:///{tmp_path / file}")
    command = [sys.executable, "-m", "galatune", "report", "old.db", "--sink", "mlflow", "--sink-to"]
    command += [f"http://127.0.0.1:{server.server_port}/{kind}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1
    assert "no complete answer within 10 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_call_is_given_up_and_its_own_errors_stay() -> None:
    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.01 s"):
        within(0.01, threading.Event().wait)
    with pytest.raises(TimeoutError, match="its own"):
        within(60.0, lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    with pytest.raises(KeyError):
        within(60.0, lambda: {}["absent"])
    assert within(60.0, lambda: 1) == within(None, lambda: 1) == 1


@pytest.mark.parametrize(
    ("setting", "seconds"), [("", 10.0), ("5", 10.0), ("60", 62.0), ("nonsense", 10.0), ("-1", 10.0)]
)
def test_a_longer_timeout_of_the_user_is_kept(
    setting: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", setting)
    assert seconds_for(file_store=False) == seconds
    assert seconds_for(file_store=True) is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "API request to http://h/api failed with exception HTTPConnectionPool(host='h', port=1): Max "
            "retries exceeded with url: /api?a=b (Caused by ReadTimeoutError(\"HTTPConnectionPool(host='h', "
            'port=1): Read timed out. (read timeout=10)"))',
            "Read timed out. (read timeout=10)",
        ),
        (
            "Max retries exceeded with url: /x (Caused by ResponseError('too many 503 error responses'))",
            "too many 503 error responses",
        ),
        ("\n  first line. \nsecond", "first line"),
        ("", "OSError"),
    ],
)
def test_the_cause_is_taken_out_of_what_stands_around_it(text: str, cause: str) -> None:
    assert f"did not take the report: {cause}. The studies" in str(failure("http://h", OSError(text)))


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http:/ada:s3cret@127.0.0.1",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://ada:s3/cret@127.0.0.1",
        " http://h",
        "x" * 5000,
    ],
)
def test_a_mistyped_uri_is_one_line(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError) as caught:
        MlflowSink().send(deliver(), uri)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert not list(tmp_path.iterdir())
