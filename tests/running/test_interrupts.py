"""Requests to stop, from the outside of a process that heeds them."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

PATIENT = """
import os, pathlib, sys, time
from coral_mtl.running.interrupts import stop_requests
with stop_requests(lambda: print("told", flush=True)) as stop:
    pathlib.Path("ready").touch()
    while not stop():
        time.sleep(0.01)
    for _ in range(20):  # a checkpoint takes its time
        print("writing", flush=True)
        time.sleep(0.01)
    pathlib.Path("written").touch()
"""


@pytest.fixture
def patient(tmp_path):
    """Start a process that writes a file when it is asked to stop."""

    def started(**options):
        process = subprocess.Popen([sys.executable, "-c", PATIENT], cwd=tmp_path, **options)
        deadline = time.monotonic() + 120
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return process

    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_request_to_stop(patient, tmp_path, number):
    process = patient(stdout=subprocess.DEVNULL)
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "written").exists()


def test_a_second_ctrl_c_kills(patient, tmp_path):
    process = patient(stdout=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"told\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    assert not (tmp_path / "written").exists()


def test_a_terminal_that_is_closed_lets_the_checkpoint_be_written(patient, tmp_path):
    ours, theirs = pty.openpty()
    process = patient(stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    for _ in range(2):
        process.send_signal(signal.SIGHUP)  # by the shell and by the kernel
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "written").exists()


def test_under_nohup_a_closed_terminal_changes_nothing(patient, tmp_path):
    process = patient(stdout=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
