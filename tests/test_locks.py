"""One process at a time in a folder."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from gtn_tf.runs.locks import locked

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOLD = """
import runpy, sys, time
from pathlib import Path
locks = runpy.run_path("gtn_tf/runs/locks.py")
with locks["locked"](Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=f"in use by process {holder.pid}: wait"),
            locked(tmp_path),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_given_back(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            pass
