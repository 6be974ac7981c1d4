"""How daphne's server writes to its sockets."""

from __future__ import annotations

from twisted.internet import tcp


class PromptTransport(tcp.Server):
    """
    A connection that writes at once what its socket takes at once.

    For each frame Twisted has the reactor say when the socket can be written to, and
    then say so no longer; asyncio's own transports, so uvicorn's, try first. What the
    socket doesn't take goes Twisted's way, and what comes meanwhile goes behind it.
    """

    _is_free = True

    def write(self, data: bytes) -> None:
        """Send *data*; what the socket does not take is left to the reactor."""
        if data and self.connected and self._is_free:
            sent = self.writeSomeData(data)
            # An error comes again when the reactor tries, which ends the connection.
            if isinstance(sent, int):
                data = data[sent:]
        super().write(data)

    def startWriting(self) -> None:  # noqa: N802 - Twisted's name
        """Leave it to the reactor: something waits."""
        self._is_free = False
        super().startWriting()

    def stopWriting(self) -> None:  # noqa: N802 - Twisted's name
        """Leave the reactor out of it: nothing waits any more."""
        self._is_free = True
        super().stopWriting()

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """End it without what waits, and so without what would come behind that."""
        super().abortConnection()
        self._is_free = False
