"""Other people's programs that serve: nginx and HAProxy, in the foreground, stopped at the end.

The test opens the sockets that they listen at and hands them over, as a service manager does. So their
ports are free ones, and whoever connects before the program has started waits in its queue: there is
nothing to wait for, and no port to lose.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path

from tests.support.services import listening, target
from tests.support.site import PATIENCE

_numbers = count(1)


@contextmanager
def nginx(
    program: str,
    directory: Path,
    server: str,
    *,
    at: str | Path = "127.0.0.1",
    on: socket.socket | None = None,
    listen: str = "",
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[str]:
    """One nginx with one server. Yields the target to dial.

    :param server: the directives of its ``server`` block.
    :param on: a listening socket that outlives it: whoever connects meanwhile waits in its queue.
    :param listen: the parameters of its ``listen`` directive.
    :param certificate: certificate and key, for TLS.
    """
    place = directory / f"nginx{next(_numbers)}"
    place.mkdir()
    tls = ""
    if certificate is not None:
        listen += " ssl"
        tls = "ssl_certificate {}; ssl_certificate_key {};".format(*certificate)
    # Root's workers would be another user's, who may not enter a directory of pytest's.
    user = "user root root;" if os.geteuid() == 0 else ""
    temporary = " ".join(
        f"{kind}_temp_path tmp_{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    with listening(at) if on is None else nullcontext(on) as listener:
        (place / "nginx.conf").write_text(
            f"""{user}
daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; {temporary}
  server {{ listen {target(listener)} {listen}; {tls} {server} }}
}}
"""
        )
        # The variable names the sockets that it inherits: how one nginx hands over to the next.
        with _running(
            [program, "-p", str(place), "-c", "nginx.conf", "-e", "stderr"],
            place / "log",
            [listener],
            {"NGINX": f"{listener.fileno()};"},
        ):
            yield target(listener)


@contextmanager
def haproxy(
    program: str,
    directory: Path,
    frontend: str,
    *,
    bind: str = "",
    mode: str = "http",
    backend: str = "",
    at: str = "127.0.0.1",
) -> Iterator[str]:
    """One HAProxy with one frontend. Yields the target to dial.

    :param frontend: its lines.
    :param bind: the parameters of its ``bind`` line.
    :param backend: the parameters of the one server behind it, if there is any: its address first.
    """
    place = directory / f"haproxy{next(_numbers)}"
    place.mkdir()
    if backend:
        frontend += f"\n  default_backend behind\nbackend behind\n  server one {backend}\n"
    with listening(at) as listener:
        (place / "haproxy.cfg").write_text(
            f"""defaults
  mode {mode}
  timeout client {PATIENCE:.0f}s
  timeout server {PATIENCE:.0f}s
  timeout connect {PATIENCE:.0f}s
frontend test
  bind fd@{listener.fileno()} {bind}
  {frontend}
"""
        )
        with _running([program, "-db", "-f", str(place / "haproxy.cfg")], place / "log", [listener]):
            yield target(listener)


@contextmanager
def _running(
    command: Sequence[str],
    log: Path,
    inherited: Sequence[socket.socket],
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            pass_fds=[listener.fileno() for listener in inherited],
        )
    try:
        yield
    finally:
        ended_by_itself = process.poll()
        process.terminate()
        process.wait(PATIENCE)
        if ended_by_itself is not None:
            raise AssertionError(f"{command[0]} ended with {ended_by_itself}:\n{log.read_text()}")
