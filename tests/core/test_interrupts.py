import signal
import subprocess
import sys
import threading

from hpacells.core.interrupts import children_ignore_interrupts

SAYS = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


def start_child() -> str:
    run = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_children_started_inside_ignore_interrupts_and_the_parent_does_not():
    # workers that still loaded their libraries answered Ctrl-C with a traceback
    before = signal.getsignal(signal.SIGINT)
    with children_ignore_interrupts():
        assert start_child() == "True"
    assert signal.getsignal(signal.SIGINT) is before
    assert start_child() == "False"


def test_another_thread_leaves_signals_alone():
    seen = []

    def work():
        with children_ignore_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
