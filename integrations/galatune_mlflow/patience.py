"""Calls to MLflow that end: with their answer, or with one line that says what went wrong."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from galatune.errors import ReportError
from galatune.formatting import shortened
from galatune.study.storage.address import hide_secrets, redact

__all__ = ["PatientClient", "failure", "seconds_for", "within"]

CALL_SECONDS = 10.0
"""Longest time for one call. MLflow's own limits do not end an answer that comes byte by byte."""
TIMEOUT_SETTING = "MLFLOW_HTTP_REQUEST_TIMEOUT"
LONGEST_REASON = 300
T = TypeVar("T")


class PatientClient:
    """An `mlflow.MlflowClient` whose calls take a limited time and raise nothing but `ReportError`.

    Args:
        client: The client.
        uri: Its tracking URI.
        seconds: Longest time for one call, None for no limit.
    """

    def __init__(self, client: Any, uri: str, seconds: float | None) -> None:
        self._client, self._uri, self._seconds = client, uri, seconds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, getattr(self._client, name))

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return within(self._seconds, partial(method, *arguments, **options))
        except Exception as error:  # stores and artifact stores each have exceptions of their own
            raise failure(self._uri, error) from None


def seconds_for(file_store: bool) -> float | None:
    """The limit for one call: none for a file, whose first use may take long; more if the user says so."""
    if file_store:
        return None
    setting = os.environ.get(TIMEOUT_SETTING, "")
    return max(CALL_SECONDS, float(setting) + 2) if setting.isdecimal() else CALL_SECONDS


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return what a call returns, or give up on it.

    The call goes on in a thread that does not keep the process alive: nothing else ends a socket that
    still receives a byte now and then.

    Args:
        seconds: Longest time, None for no limit.
        call: Without arguments.

    Raises:
        TimeoutError: It takes longer.

    >>> within(1.0, lambda: 2)
    2
    """
    if seconds is None:
        return call()
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    try:
        return future.result(seconds)
    except OutOfTime:
        if future.done():  # the call's own
            raise
        raise TimeoutError(f"no complete answer within {seconds:g} s") from None


def failure(uri: str, error: BaseException) -> ReportError:
    """The error in one line: the cause itself, and nothing that is a password."""
    reason = shortened(hide_secrets(_cause(str(error) or type(error).__name__), uri), LONGEST_REASON)
    return ReportError(
        f"MLflow at {redact(uri)} did not take the report: {reason}. The studies are unchanged; the same "
        "galatune report command sends what is missing later"
    )


def _cause(message: str) -> str:
    r"""What went wrong, out of the sentences that HTTP libraries put around it.

    >>> _cause("Max retries exceeded (Caused by ReadTimeoutError(\"Pool(port=1): Timed out. (1)\"))")
    'Timed out. (1)'
    >>> _cause("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))")
    'Connection reset by peer'
    """
    line = next((line for line in message.splitlines() if line.strip()), "no reason given")
    inner = re.search(r"Caused by \w+\((['\"]?)(.*)\1\)\)", line)
    if inner:
        line = re.sub(r"^(?:\w+\([^)]*\)|<[^>]*>): ", "", inner.group(2))
    innermost = re.search(r", \w+\((?:\d+, )?(['\"])(.*?)\1", line)
    return (innermost.group(2) if innermost else line).strip().rstrip(".")
