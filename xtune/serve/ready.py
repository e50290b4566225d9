"""A server with its models in memory and its port taken, as the verb returns it. The requests are answered elsewhere."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xtune.serve.address import is_loopback

if TYPE_CHECKING:
    from socket import socket

    from xtune.serve.engine import Engine
    from xtune.serve.server import Server as Serving


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that is ready to run: models in memory, port taken."""

    engine: "Engine"
    listener: "socket"
    host: str
    api_key: str | None = field(default=None, repr=False)
    _running: "list[Serving]" = field(default_factory=list, init=False, repr=False)

    @property
    def url(self) -> str:
        """What clients take for `base_url`."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.listener.getsockname()[1]}/v1"

    @property
    def warning(self) -> str:
        """What a person should know of who can reach it; mostly empty."""
        if self.api_key is not None or is_loopback(self.host):
            return ""
        return f"Warning: anyone who reaches {self.host} can use this server; set an API key (XTUNE_API_KEY)."

    def __str__(self) -> str:
        names = ", ".join(self.engine.models.served)
        return f"serving {names}\n{self.url}"

    def run(self, *, grace_s: float = 30.0) -> bool:
        """Serve until SIGTERM or Ctrl-C, then finish the answers at hand.

        Returns:
            Whether all of them were finished within the grace.
        """
        from xtune.serve.server import make_server  # noqa: PLC0415 - torch is imported late

        server = make_server(self.engine, host=self.host, api_key=self.api_key, grace_s=grace_s)
        self._running.append(server)
        server.run(sockets=[self.listener])
        return not server.cut

    def stop(self) -> None:
        """End a `run` in another thread as SIGTERM would; of a server that does not run, give the port back."""
        for server in self._running:
            server.should_exit = True
        if not self._running:
            self.listener.close()
