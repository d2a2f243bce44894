"""The signals of a worker, and the children that its callables fork."""

import subprocess
import sys

PROGRAM = """
import os, signal
told, tell = os.pipe()

def note():
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    os.write(tell, b"held" if signal.SIGTERM in held else b"open")

# Hooks of children run in the order of their registration, so this one comes first.
os.register_at_fork(after_in_child=note)
from backlane.worker.signals import signals_to

class Shift:
    def drain(self): ...

with signals_to(Shift()):
    child = os.fork()
    if not child:
        signal.pause()
    print(os.read(told, 4).decode())
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_signal_to_a_forked_child_waits_until_the_child_is_set_up_and_ends_it() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=20, check=False
    )

    assert (run.stdout.split(), run.returncode) == (["held", "-15"], 0), run.stderr
