"""Pinned scenarios: one for each finding, and one for each event of the model. Each runs in every session.

A name that known.py marks is a finding the engine still gets wrong; without its mark the example is an ordinary test.
"""

from __future__ import annotations

from model.scenario import (
    Block,
    Busy,
    Die,
    Event,
    Feed,
    Flood,
    Fork,
    Group,
    Hang,
    Idle,
    Leave,
    Load,
    Piece,
    Raise,
    Record,
    Restart,
    Return,
    Scenario,
    Sleep,
    Special,
    Step,
    StopGenerator,
    Swallow,
    Threads,
)

GUN = (Piece(40, 40, 600),)
USERS = (Piece(3, 3, 600),)
TWO = (Piece(2, 2, 600),)
NAP = ((Sleep(10),),)


def once(*steps: Step, at: int = 2, times: int = 1) -> tuple[Special, ...]:
    """Return the specials of a load in which so many calls run these steps."""
    return (Special(at, steps, times),)


FINDINGS: dict[str, Scenario] = {
    # of shared review engine.md
    "A1 neighbours of a hung call": Scenario(
        (Load("async gun", (Piece(40, 40, 2500),), ((Sleep(500),),), once(Swallow()), call_timeout_ms=1000),)
    ),
    "A3 active_max is not measured": Scenario(
        (Load("sync user", (Piece(1, 1, 1300), Piece(3, 3, 300)), NAP, bad_setup=Special(1, (Sleep(3000),), 2)),)
    ),
    "A3 no users.delivered": Scenario((Load("sync user", USERS, NAP),)),
    "A4a a setup fails in a pack": Scenario(
        (
            Load(
                "packed",
                USERS,
                NAP,
                pack=3,
                bad_setup=Special(0, (Sleep(100), Raise())),
                setup_timeout_ms=400,
            ),
        )
    ),
    "A4b StopUser in a setup of a pack": Scenario(
        (Load("packed", USERS, NAP, pack=3, bad_setup=Special(0, (Leave(),)), setup_timeout_ms=400),)
    ),
    "A4c a setup fails after RestartUser in a pack": Scenario(
        (
            Load(
                "packed",
                (Piece(2, 2, 1500), Piece(4, 4, 4000)),
                NAP,
                once(Restart()),
                pack=4,
                bad_setup=Special(2, (Raise(),)),
            ),
        )
    ),
    "A5 a waiting pack spins": Scenario(
        (Load("packed", (Piece(60, 60, 300), Idle(4500), Piece(60, 60, 100)), ((Sleep(20), Busy(1)),), pack=60),)
    ),
    "A6 threads lose records": Scenario(
        (Load("sync user", (Piece(1, 1, 1500),), ((Threads("t", 4, 4000),),), graceful_ms=20_000),)
    ),
    "A7 equal random streams on all nodes": Scenario((Load("sync user", USERS, NAP),), nodes=2),
    "A8 scheduled after stop, pause and resume": Scenario(
        (
            Load("async gun", (Piece(20, 20, 600),), NAP, once(StopGenerator(), at=5)),
            Load("sync user", (Piece(1, 1, 1500),), NAP),
        ),
        events=(Event("pause", 700), Event("resume", 400)),
    ),
    "B12 a thread that was given up calls on": Scenario(
        (Load("sync user", (Piece(1, 1, 2500),), NAP, once(Sleep(900)), call_timeout_ms=300),), runtime="inline"
    ),
    "B13 max_in_flight is rounded up": Scenario(
        (Load("async gun", (Piece(40, 40, 600),), ((Sleep(300),),), max_in_flight=1),)
    ),
    "B15 users are cancelled again and again": Scenario((Load("packed", TWO, ((Hang(),),), cleanup_ms=200),)),
    "B16 the pace outlives RestartUser": Scenario(
        (
            Load(
                "sync user",
                (Piece(1, 1, 2500),),
                NAP,
                once(Restart()),
                pacing_ms=100,
                bad_setup=None,
                setup=(Sleep(800),),
            ),
        )
    ),
    "B19 users are sent home before they are wanted": Scenario(
        (Load("sync user", (Piece(1, 1, 1000), Piece(6, 6, 300), Piece(1, 1, 300)), NAP),)
    ),
    # of real-clients.md
    "real-clients B1 cut requests are in no group": Scenario(
        (Load("sync user", USERS, ((Group("g", (Sleep(5),)),),), once(Group("g", (Hang(),))), call_timeout_ms=250),)
    ),
    "real-clients B2 pause before t = 0": Scenario(
        (Load("async gun", GUN, NAP),), events=(Event("pause", -1), Event("resume", -1))
    ),
    "real-clients B3a a forked child records a group": Scenario(
        (Load("sync user", TWO, NAP, once(Fork("group"), times=3)),)
    ),
    "real-clients B3b a forked child raises SystemExit": Scenario(
        (Load("sync user", TWO, NAP, once(Fork("exit"), times=3)),)
    ),
    "real-clients B3c a forked child returns": Scenario((Load("sync user", TWO, NAP, once(Fork("return"), times=3)),)),
    # of newcomer.md
    "R6 paces in a long call are not scheduled": Scenario(
        (Load("sync user", (Piece(1, 1, 4000),), ((Sleep(480),),), pacing_ms=100),)
    ),
    "real-clients B1 groups lack three outcomes": Scenario((Load("sync user", USERS, ((Group("a", (Sleep(5),)),),)),)),
    "N1 an async gun that was given up fires on": Scenario(
        (Load("async gun", GUN, NAP, once(Block()), call_timeout_ms=250),), "inline"
    ),
    "N4 two stops at once, inline": Scenario(
        (Load("async user", (Piece(20, 20, 600),), NAP),), "inline", events=(Event("stop", 100), Event("stop", 0))
    ),
    "N7 no teardown before t = 0": Scenario((Load("sync user", TWO, NAP, bad_setup=Special(1, (Raise(),), 99)),)),
    "N6 no fail_on_error in the grace": Scenario(
        (Load("sync user", (Piece(1, 1, 400),), NAP, once(Sleep(800), Raise()), fail_on_error=True, graceful_ms=3000),)
    ),
    "N5 a packed user comes back with the same stream": Scenario(
        (Load("packed", (Piece(3, 3, 100), Piece(1, 1, 1500), Piece(3, 3, 100)), NAP, pack=3),)
    ),
    "N2 a leaving user has no graceful_stop": Scenario(
        (Load("sync user", (Piece(2, 2, 300), Piece(1, 1, 5000)), ((Sleep(10),), (Hang(),))),)
    ),
    "N3 a setup that fails after RestartUser is a death": Scenario(
        (Load("sync user", (Piece(1, 1, 1500),), NAP, once(Restart()), bad_setup=Special(1, (Raise(),))),)
    ),
}

EVENTS: dict[str, Scenario] = {
    "a hung sync user": Scenario((Load("sync user", (Piece(2, 2, 1200),), NAP, once(Hang()), call_timeout_ms=250),)),
    "a hung sync gun": Scenario((Load("sync gun", GUN, NAP, once(Hang()), call_timeout_ms=250),)),
    "a hung async gun": Scenario((Load("async gun", GUN, NAP, once(Hang()), call_timeout_ms=250),)),
    "a hung packed user": Scenario((Load("packed", USERS, NAP, once(Hang()), call_timeout_ms=250),)),
    "a hung sync user, inline": Scenario(
        (Load("sync user", (Piece(2, 2, 1200),), NAP, once(Hang()), call_timeout_ms=250),), "inline"
    ),
    "a hung sync gun, inline": Scenario((Load("sync gun", GUN, NAP, once(Hang()), call_timeout_ms=250),), "inline"),
    "a hung async user, inline": Scenario(
        (Load("async user", USERS, NAP, once(Hang()), call_timeout_ms=250),), "inline"
    ),
    "an async user swallows": Scenario((Load("async user", USERS, NAP, once(Swallow()), call_timeout_ms=250),)),
    "a packed user swallows": Scenario((Load("packed", USERS, NAP, once(Swallow()), call_timeout_ms=250),)),
    "an async gun blocks": Scenario((Load("async gun", GUN, NAP, once(Block()), call_timeout_ms=250),)),
    "a packed user blocks": Scenario((Load("packed", USERS, NAP, once(Block()), call_timeout_ms=250),)),
    "an async gun swallows, inline": Scenario(
        (Load("async gun", GUN, NAP, once(Swallow()), call_timeout_ms=250),), "inline"
    ),
    "a call hangs in a group": Scenario(
        (Load("async gun", GUN, NAP, once(Group("g", (Hang(),))), call_timeout_ms=250),)
    ),
    "a call swallows in a group": Scenario(
        (Load("async gun", GUN, NAP, once(Group("g", (Swallow(),))), call_timeout_ms=250),)
    ),
    "hung until graceful_stop": Scenario(
        (Load("sync user", USERS, NAP, once(Hang())), Load("async gun", GUN, NAP, once(Hang())))
    ),
    "stop": Scenario((Load("async gun", GUN, NAP), Load("sync user", USERS, NAP)), events=(Event("stop", 300),)),
    "stop of a sync gun": Scenario((Load("sync gun", GUN, NAP),), events=(Event("stop", 300),)),
    "second stop": Scenario(
        (Load("async gun", GUN, NAP), Load("sync user", USERS, ((Sleep(10),), (Sleep(3000),)), graceful_ms=5000)),
        events=(Event("stop", 300), Event("stop", 200)),
    ),
    "second stop, inline": Scenario(
        (Load("async gun", GUN, NAP), Load("sync user", USERS, ((Sleep(10),), (Sleep(1000),)), graceful_ms=5000)),
        "inline",
        events=(Event("stop", 300), Event("stop", 200)),
    ),
    "stop before t = 0": Scenario((Load("async gun", GUN, NAP, setup=(Sleep(200),)),), events=(Event("stop", -1),)),
    "pause and resume": Scenario(
        (
            Load("async gun", (Piece(40, 40, 1500),), NAP),
            Load("sync user", (Piece(3, 3, 1500),), NAP),
            Load("sync gun", (Piece(40, 40, 1500),), NAP),
        ),
        events=(Event("pause", 100), Event("resume", 1300)),
    ),
    "pause, then stop": Scenario(
        (Load("async gun", GUN, NAP), Load("sync user", USERS, NAP)), events=(Event("pause", 200), Event("stop", 300))
    ),
    "pause on two nodes": Scenario(
        (Load("async gun", GUN, NAP), Load("sync user", USERS, NAP)),
        nodes=2,
        events=(Event("pause", 200), Event("resume", 1000)),
    ),
    "stop on two nodes": Scenario(
        (Load("async gun", GUN, NAP), Load("sync gun", GUN, NAP)), nodes=2, events=(Event("stop", 300),)
    ),
    "context.stop()": Scenario(
        (Load("async gun", GUN, NAP, once(StopGenerator())), Load("sync user", USERS, NAP, once(StopGenerator())))
    ),
    "context.stop() on two nodes": Scenario((Load("sync gun", GUN, NAP, once(StopGenerator())),), nodes=2),
    "fail_on_error": Scenario((Load("sync gun", GUN, NAP, once(Raise()), fail_on_error=True),)),
    "fail_on_error, packed": Scenario((Load("packed", USERS, NAP, once(Return("failed")), fail_on_error=True),)),
    "SIGKILL of sync users": Scenario(
        (Load("sync user", USERS, NAP),), events=(Event("kill", 100), Event("kill", 50, nth=1))
    ),
    "SIGKILL of a sync gun": Scenario(
        (Load("sync gun", GUN, NAP),), events=(Event("kill", 100), Event("kill", 50, nth=1))
    ),
    "SIGKILL of an async gun": Scenario((Load("async gun", GUN, ((Sleep(100),),)),), events=(Event("kill", 200),)),
    "SIGKILL of a pack": Scenario((Load("packed", USERS, NAP),), events=(Event("kill", 200),)),
    "SIGKILL on two nodes": Scenario((Load("sync user", USERS, NAP),), nodes=2, events=(Event("kill", 200),)),
    "crash loop": Scenario((Load("sync user", (Piece(1, 1, 5000),), ((Die(),),)),)),
    "exit in a call": Scenario(
        (Load("sync user", USERS, NAP, once(Die("exit"), times=2)), Load("sync gun", GUN, NAP, once(Die())))
    ),
    "a setup fails once": Scenario(
        (
            Load("sync user", USERS, NAP, bad_setup=Special(0, (Raise(),))),
            Load("sync gun", GUN, NAP, bad_setup=Special(0, (Raise(),))),
        )
    ),
    "a setup fails for good": Scenario((Load("async user", USERS, NAP, bad_setup=Special(0, (Raise(),), 99)),)),
    "a setup of a further worker fails for good": Scenario(
        (Load("sync user", (Piece(1, 1, 300), Piece(2, 2, 600)), NAP, bad_setup=Special(1, (Raise(),), 99)),)
    ),
    "a setup hangs": Scenario((Load("sync user", USERS, NAP, bad_setup=Special(0, (Hang(),)), setup_timeout_ms=300),)),
    "an async setup hangs": Scenario(
        (Load("async gun", GUN, NAP, bad_setup=Special(0, (Hang(),)), setup_timeout_ms=300),)
    ),
    "a setup dies": Scenario((Load("sync user", USERS, NAP, bad_setup=Special(0, (Die(),))),)),
    "StopUser in setup": Scenario(
        (
            Load("sync user", USERS, NAP, bad_setup=Special(0, (Leave(),))),
            Load("async user", USERS, NAP, bad_setup=Special(0, (Leave(),))),
        )
    ),
    "RestartUser in setup": Scenario((Load("sync user", USERS, NAP, bad_setup=Special(0, (Restart(),))),)),
    "StopUser in a call": Scenario(
        (Load("sync user", USERS, NAP, once(Leave(), times=2)), Load("packed", USERS, NAP, once(Leave(), times=2)))
    ),
    "a user is killed in the back-off after RestartUser": Scenario(
        (Load("async user", TWO, NAP, once(Restart())),), events=(Event("kill"), Event("kill", nth=1))
    ),
    "threads are given up before the first request of their calls": Scenario(
        (Load("sync user", TWO, ((Sleep(20), Record("a"), Return("failed", "b")),)),),
        "inline",
        events=(Event("stop", 150), Event("stop")),
    ),
    "a stop before all nodes are set up": Scenario(
        (Load("sync user", (Piece(4, 4, 300),), NAP, setup=(Sleep(20),)),),
        nodes=2,
        events=(Event("stop", -2), Event("stop")),
    ),
    "StopUser of all": Scenario((Load("packed", (Piece(3, 3, 20_000),), NAP, once(Leave(), times=3)),)),
    "StopUser in a gun": Scenario(
        (Load("sync gun", GUN, NAP, once(Leave())), Load("async gun", GUN, NAP, once(Leave())))
    ),
    "RestartUser in a call": Scenario(
        (Load("sync user", USERS, NAP, once(Restart(), times=2)), Load("packed", USERS, NAP, once(Restart(), times=2)))
    ),
    "rows used up": Scenario(
        (
            Load("sync user", (Piece(3, 3, 20_000),), ((Feed(), Sleep(5)),), rows=20),
            Load("packed", (Piece(3, 3, 20_000),), ((Feed(), Sleep(5)),), rows=20),
        )
    ),
    "rows on two nodes": Scenario((Load("sync user", (Piece(3, 3, 1000),), ((Feed(), Sleep(5)),), rows=400),), nodes=2),
    "the highest users leave first": Scenario(
        (Load("sync user", (Piece(4, 1, 600),), NAP), Load("packed", (Piece(4, 1, 600),), NAP, pack=4))
    ),
    "rows used up by a gun": Scenario(
        (
            Load("async gun", (Piece(40, 40, 2000),), ((Feed(),),), rows=20),
            Load("sync gun", (Piece(40, 40, 2000),), ((Feed(),),), rows=20),
        )
    ),
    "rows used up in a group": Scenario(
        (Load("sync user", (Piece(2, 2, 20_000),), ((Group("g", (Feed(),)),),), rows=10),)
    ),
    "a full ring": Scenario(
        (Load("sync user", TWO, ((Flood("f", 300), Sleep(5)),)),), events=(Event("freeze", 100, hold_ms=400),), slots=64
    ),
    "a full ring, inline": Scenario((Load("async gun", GUN, ((Flood("f", 100),),)),), "inline", slots=64),
    "a ring that overflows": Scenario(
        (Load("sync user", TWO, ((Sleep(1),),), ring_wait_ms=20),),
        events=(Event("freeze", 100, hold_ms=400),),
        slots=64,
    ),
    "a gun stands still and is stopped": Scenario(
        (Load("async gun", GUN, NAP), Load("sync gun", GUN, NAP)),
        events=(Event("stall", 100, hold_ms=300), Event("stall", 0, 1, hold_ms=300), Event("stop", 150)),
    ),
    "rings wrap around": Scenario((Load("async gun", (Piece(200, 200, 1000),)), Load("sync user", TWO)), slots=64),
    "threads that record": Scenario((Load("sync user", TWO, ((Threads("t", 2, 5), Sleep(5)),)),)),
    "a quiet fork": Scenario((Load("sync user", TWO, NAP, once(Fork("quiet"), times=3)),)),
    "max_calls": Scenario(
        (
            Load("sync user", (Piece(3, 3, 20_000),), NAP, max_calls=20),
            Load("packed", (Piece(3, 3, 20_000),), NAP, max_calls=20),
        )
    ),
    "max_calls of guns": Scenario(
        (Load("async gun", GUN, NAP, max_calls=10), Load("sync gun", GUN, NAP, max_calls=10))
    ),
    "max_calls on two nodes": Scenario(
        (Load("sync user", (Piece(3, 3, 20_000),), NAP, max_calls=21), Load("sync gun", GUN, NAP, max_calls=11)),
        nodes=2,
    ),
    "users come and go": Scenario(
        (
            Load("sync user", (Piece(0, 4, 400), Idle(100), Piece(4, 1, 400)), NAP),
            Load("packed", (Piece(0, 4, 400), Idle(100), Piece(4, 1, 400)), NAP),
        )
    ),
    "a rate that ramps": Scenario(
        (
            Load("sync gun", (Piece(0, 40, 400), Idle(100), Piece(40, 0, 400)), NAP),
            Load("async gun", (Piece(0, 40, 400), Idle(100), Piece(40, 0, 400)), NAP),
        )
    ),
    "late ticks are dropped": Scenario(
        (
            Load("async gun", GUN, ((Sleep(200),),), max_in_flight=2, drops=True),
            Load("sync gun", GUN, ((Sleep(200),),), max_workers=1, drops=True),
        )
    ),
    "a standing target": Scenario(
        (Load("sync gun", (Piece(40, 40, 400),), ((Sleep(400),),), max_workers=2, graceful_ms=3000),)
    ),
    "paced users": Scenario((Load("sync user", TWO, NAP, pacing_ms=100), Load("packed", TWO, NAP, pacing_ms=100))),
    "a pace of a pack falls due unnoticed before its process exits": Scenario(
        (
            Load(
                "packed",
                (Piece(4, 3, 600),),
                ((Sleep(5),), (Sleep(1),), (Sleep(5), Group("b", (Sleep(5), Raise())), Sleep(20))),
                (Special(3, (Die("exit"),)),),
                pacing_ms=15,
                graceful_ms=3000,
            ),
        ),
        nodes=2,
    ),
    "a thread is given up shortly before its call is cancelled in two requests": Scenario(
        (
            Load(
                "packed",
                (Piece(2, 2, 400),),
                ((Sleep(1),),),
                (Special(1, (Block(),), 2), Special(0, (Group("b", (Group("a", (Hang(),)),)),))),
                call_timeout_ms=250,
                graceful_ms=3000,
            ),
        ),
        "inline",
        events=(Event("stop", 150),),
    ),
    "think time": Scenario((Load("sync user", TWO, NAP, think_ms=60), Load("async user", TWO, NAP, think_ms=60))),
    "requests of every kind": Scenario(
        tuple(
            Load(
                kind,
                GUN if kind.endswith("gun") else TWO,
                (
                    (Sleep(5),),
                    (Sleep(5), Raise()),
                    (Group("a", (Sleep(3), Group("b", fails=True))), Return("ok")),
                    (Record("r", True),),
                    (Return("timeout"),),
                    (Return("wrong"),),
                    (Group("c", (Raise(),), catches=True),),
                    (Return("ok", "own"),),
                ),
                setup=(Group("login"),),
                teardown=(Record("logout"),),
            )
            for kind in ("sync gun", "async gun", "sync user", "packed")
        )
    ),
}

EXAMPLES = {**FINDINGS, **EVENTS}
