"""What the HTTP clients of a worker record: see Recorder and SessionRecorder of wasp_ray.http."""

from __future__ import annotations

from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import OpenRequest
from wasp_ray.worker.open_requests import make_ended
from wasp_ray.worker.spec import WorkerSpec


class HttpRecorder:
    """The contract of the clients. Its frequent methods are closures."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, booker: Booker, *, sends_together: bool = True) -> None:
        self._booker = booker
        self.count = booker.count
        self.request_begins = booker.request_begins
        self.request_ended = make_ended(spec, writer, booker, sends_together=sends_together)
        self.request_dropped = booker.drop_open

    def request_raised(self, opened: OpenRequest, exc: BaseException) -> None:
        """The call that this exception reaches is to have no second error."""
        call = opened[0]
        if call is not None:
            call.seen = exc

    def phase(self, start: int, end: int, group: str, route: str) -> None:
        """Records a phase of a request, which belongs to no call."""
        self._booker.request(None, start, start, end, group, path=route)
