"""Signals: heard between outer steps, saved, and told how to go on."""

import os
import signal
import threading

import pytest

from gtn_tf.runs import interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_once(number):
    before = signal.getsignal(number)
    with interruption.defer_signals() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and request.signal_number == number
        assert signal.getsignal(number) is before  # a second one acts as usual
    assert signal.getsignal(number) is before


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), interruption.defer_signals():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_hear_nothing():
    found = []

    def work():
        with interruption.defer_signals() as request:
            found.append(bool(request))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_what_is_said():
    error = interruption.Interrupted(signal.SIGTERM, 12)
    assert error.exit_code == 143
    assert "SIGTERM" in str(error) and "outer step 12" in str(error)
    assert "same command goes on" in str(error)
