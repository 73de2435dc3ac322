"""Several worker processes on one listening socket."""

from __future__ import annotations

from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """Lets go of the listening socket when told to stop.

    While the parent holds it, the kernel takes connections that no worker serves any more.
    """

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()
