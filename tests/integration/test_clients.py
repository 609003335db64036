"""Users bring their own clients and their own ways to start a run: all of it works unpatched, and the figures are true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import loads
from support.books import check_books, pid_of, wait_for_start, wait_until
from support.servers import serving

from wasp_ray import Generator, Profile, plain
from wasp_ray.wire.ring import RING_WAIT_NS


def test_a_target_that_stands_still_for_a_second_in_ten_has_true_percentiles() -> None:
    """A tenth of the calls was due in the stall: response p95 is half of it, p99 nine tenths, or more on a busy machine.

    Ten slots only, so that the client waits with the target: service times alone would hide the stall, as a closed loop does.
    """
    with serving("stalling") as port:
        gun = Generator("g", gun=loads.HttpGet, schedule=plain(200, "10s"), params={"port": port}, max_in_flight=10)
        result = Profile(gun).run()
    check_books(result)
    assert result.ledger.ok == 2000, result.ledger
    response, service = result.generators["g"].response, result.generators["g"].service
    assert 0.35 < response.p95 < 0.8
    assert 0.8 < response.p99 < 1.3
    assert response.max > 0.9
    assert service.p99 < response.p99 / 2


@pytest.mark.parametrize("user", [loads.GrpcUser, loads.AsyncGrpcUser])
def test_grpc_works_inside_forked_users(user: type) -> None:
    """Imported in the zygote, used in each child, blocking and async."""
    with serving("grpc") as port:
        result = Profile(Generator("u", user=user, schedule=plain(4, "1s"), params={"port": port})).run()
    check_books(result)
    assert result.verdict == "passed", result.reasons
    assert result.ledger.ok >= 20 and result.ledger.failed == 0


def test_a_full_ring_holds_its_user_up_and_then_loses_what_is_counted(tmp_path: Path) -> None:
    """The aggregator stands still until a user has waited for `ring_wait`: lost calls have their column, the run is invalid."""
    params = {"file": str(tmp_path / "held up"), "held_s": RING_WAIT_NS / 1e9}
    going = Profile(Generator("u", user=loads.HeldUp, schedule=plain(1, "100s"), params=params)).start()
    wait_for_start(going)
    aggregator = pid_of(going, "aggregator")
    os.kill(aggregator, signal.SIGSTOP)
    wait_until((tmp_path / "held up").exists)
    os.kill(aggregator, signal.SIGCONT)
    going.stop()
    result = going.wait(60)
    check_books(result)
    assert result.ledger.lost >= 1
    assert result.verdict == "invalid"
    assert any("aggregator" in reason for reason in result.reasons), result.reasons
    assert any("lost" in reason for reason in result.reasons), result.reasons


def _python(code: str, *arguments: str, stdin: bool = False, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-" if stdin else "-c", *([] if stdin else [code]), *arguments]
    return subprocess.run(
        command, input=code if stdin else None, capture_output=True, text=True, timeout=90, cwd=cwd, check=False
    )


def test_classes_of_a_notebook_travel_by_value(tmp_path: Path) -> None:
    """No file holds them: a session typed in, helpers and closures included, runs in processes."""
    code = textwrap.dedent("""
        import os
        from wasp_ray import Generator, Profile, VirtualUser, plain

        PAUSE_S = 0.01

        def helper():
            import time
            time.sleep(PAUSE_S)

        class Typed(VirtualUser):
            def call(self):
                helper()
                assert os.getpid() != self.context.params["parent"]

        result = Profile(
            Generator("u", user=Typed, schedule=plain(2, "400ms"), params={"parent": os.getpid()})
        ).run()
        print(result.verdict, result.ledger.failed, result.ledger.ok > 10)
    """)
    done = _python(code, stdin=True, cwd=tmp_path)
    assert done.stdout.split() == ["passed", "0", "True"], done.stdout + done.stderr


def test_numpy_at_import_just_works_and_users_have_their_own_streams(tmp_path: Path) -> None:
    """No thread is started by it, no warning said; forked users don't share numpy's random stream."""
    (tmp_path / "load.py").write_text(
        textwrap.dedent("""
        import numpy
        from wasp_ray import Generator, Profile, VirtualUser, plain

        class Draws(VirtualUser):
            def setup(self):
                print("drew", numpy.random.random(), flush=True)
            def call(self):
                numpy.dot(numpy.ones((50, 50)), numpy.ones((50, 50)))

        profile = Profile(Generator("u", user=Draws, schedule=plain(4, "300ms"), think_time=0.01))
    """)
    )
    code = "import sys; from wasp_ray.cli import main; main()"
    done = _python(code, "run", "load.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "native threads" not in done.stdout + done.stderr
    drawn = {line.split("drew ")[1] for line in (tmp_path / "out/logs/users.log").read_text().splitlines()}
    assert len(drawn) == 4


def test_a_secret_given_by_e_is_in_no_file_and_on_no_line_of_the_run(tmp_path: Path) -> None:
    """Users read it from the environment; the bundle, the terminal and the engines' argv do not hold it."""
    (tmp_path / "load.py").write_text(
        textwrap.dedent("""
        import os
        from pathlib import Path
        from wasp_ray import Generator, Profile, VirtualUser, plain

        class Keeper(VirtualUser):
            def call(self):
                assert len(os.environ["API_TOKEN"]) == 13
                for line in (f"/proc/{os.getpid()}/cmdline", f"/proc/{os.getppid()}/cmdline"):
                    assert os.environ["API_TOKEN"].encode() not in Path(line).read_bytes()

        profile = Profile(Generator("u", user=Keeper, schedule=plain(2, "300ms"), think_time=0.01))
    """)
    )
    secret = "hush-" + "x4Zq91Lm"
    code = f"import sys; sys.argv += ['-e', 'API_TOKEN={secret}']; from wasp_ray.cli import main; main()"
    done = _python(code, "run", "load.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert secret not in done.stdout + done.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if secret.encode() in path.read_bytes()]
