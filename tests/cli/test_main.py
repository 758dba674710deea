import subprocess
import sys

from hpacells import __version__


def test_the_package_can_be_run_as_a_module():
    command = [sys.executable, "-m", "hpacells", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"hpacells {__version__}"
