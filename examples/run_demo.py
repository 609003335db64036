"""Starts the demo's server, runs the demo's load against it, stops the server. Exits with the load test's code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """The exit code of `wasp run`; Ctrl-C reaches it too, and is its to answer."""
    target = subprocess.Popen(
        [sys.executable, HERE / "target.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = target.stdout.readline().strip()
        if not url:
            print("the demo's server did not start; its messages are above", file=sys.stderr)
            return 4
        print(f"server: {url}")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        command = [sys.executable, "-m", "wasp_ray", "run", HERE / "demo.py", "--nodes", "2", *sys.argv[1:]]
        return subprocess.call(command, env={**os.environ, "TARGET_URL": url}, preexec_fn=default_interrupt)
    finally:
        target.stdin.close()
        target.wait(10)


def default_interrupt() -> None:
    """The load test answers Ctrl-C, this script waits for it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
