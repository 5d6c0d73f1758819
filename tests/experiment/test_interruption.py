"""Signals as a wish."""

import os
import signal
import subprocess
import sys

import pytest

from ddpm.experiment.interruption import Interrupted, Interruption, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_next_one_acts_as_before(number):
    came = []
    before = signal.signal(number, lambda *_: came.append("before"))
    try:
        with interruptible(orphans_end=False) as interruption:
            assert not interruption.wanted
            os.kill(os.getpid(), number)
            assert interruption.wanted
            assert interruption.signal == number
            assert came == []
            os.kill(os.getpid(), number)
            assert came == ["before"]
        os.kill(os.getpid(), number)
        assert came == ["before", "before"]
    finally:
        signal.signal(number, before)


def test_a_worker_notes_every_signal():
    with interruptible(orphans_end=True) as interruption:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM


def test_an_orphan_ends_and_a_process_of_its_own_does_not():
    assert Interruption(None, parent=os.getpid()).wanted  # nobody is one's own parent
    assert not Interruption(None, parent=os.getppid()).wanted
    assert not Interruption(None, parent=None).wanted


@pytest.mark.parametrize(("error", "code"), [("Interrupted('stopped', 15)", 143), ("KeyboardInterrupt", 130)])
def test_exit_codes_are_those_of_shells(error, code):
    program = (
        "import ddpm.__main__ as m, click\n"
        "from ddpm.experiment.interruption import Interrupted\n"
        "@click.command()\n"
        f"def stop(): raise {error}\n"
        "m.Commands.get_command = lambda *_: stop\n"
        "m.main(['stop'])"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert child.returncode == code, child.stderr
    assert child.stderr == ("stopped\n" if code == 143 else "")


def test_an_interruption_passes_where_errors_are_caught():
    assert not issubclass(Interrupted, Exception)
