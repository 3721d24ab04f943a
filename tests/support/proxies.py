"""Other people's proxies: tinyproxy, squid, microsocks and Dante, in the foreground, stopped at the end.

Rule: none of them is handed a socket, so each listens at an address that no other test uses, and whoever
starts one waits until it does.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.listening import listening_inodes
from tests.support.site import PATIENCE

USER, PASSWORD = "mail", "s3cr3t-of-the-proxy"


@contextmanager
def tinyproxy(
    program: str, directory: Path, listen: str, *, login: bool = True, ports: str = ""
) -> Iterator[None]:
    """An HTTP proxy.

    :param login: whether it wants :data:`USER` and :data:`PASSWORD`.
    :param ports: the only port that CONNECT may be to; any if empty.
    """
    host, _, port = listen.rpartition(":")
    lines = [f"Port {port}", f"Listen {host}", "MaxClients 100", "LogLevel Info"]
    lines += [f"BasicAuth {USER} {PASSWORD}"] if login else []
    lines += [f"ConnectPort {ports}"] if ports else []
    path = directory / f"tinyproxy-{port}.conf"
    path.write_text("\n".join((*lines, "")))
    with _running([program, "-d", "-c", str(path)], directory / f"tinyproxy-{port}.log", listen):
        yield


@contextmanager
def squid(program: str, listen: str, helper: str, *, tls: tuple[Path, Path] | None = None) -> Iterator[None]:
    """An HTTP proxy that wants :data:`USER` and :data:`PASSWORD`.

    :param helper: its program ``basic_ncsa_auth``.
    :param tls: its certificate and key, if it is to be spoken to within TLS.
    """
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    # It refuses to be root, and whoever it becomes may not go through a directory of pytest's.
    with TemporaryDirectory(prefix="squid-") as name:
        place = Path(name)
        place.chmod(0o755)
        passwords, path = place / "passwords", place / "squid.conf"
        passwords.write_text(f"{USER}:{hashed}\n")
        port = f"http_port {listen}"
        if tls is not None:
            for source, name in zip(tls, ("crt", "key"), strict=True):
                (place / name).write_bytes(source.read_bytes())
            port = f"https_port {listen} tls-cert={place}/crt tls-key={place}/key"
        path.write_text(
            f"""{port}
auth_param basic program {helper} {passwords}
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
access_log none
cache_log {os.devnull}
pid_filename none
coredump_dir {place}
shutdown_lifetime 0 seconds
"""
        )
        # Without a name of its own it would share its memory with any other squid of the machine.
        service = f"test{listen.rpartition(':')[2]}"
        command = [program, "-N", "-n", service, "-d", "1", "-f", str(path)]
        with _running(command, place / "output", listen):
            yield


@contextmanager
def microsocks(
    program: str, directory: Path, listen: str, *, login: bool = True, inside: Sequence[str] = ()
) -> Iterator[None]:
    """A SOCKS5 proxy.

    :param inside: a command that runs another one, such as ``ip netns exec NAME``.
    """
    host, _, port = listen.rpartition(":")
    options = ["-u", USER, "-P", PASSWORD] if login else []
    command = [*inside, program, "-i", host, "-p", port, *options]
    with _running(command, directory / f"microsocks-{port}.log", None if inside else listen):
        yield


@contextmanager
def dante(program: str, directory: Path, listen: str, *, allow: str) -> Iterator[None]:
    """A SOCKS5 proxy that lets one network be reached, and wants no password.

    :param allow: addresses that may be reached, such as ``127.0.0.0/8``.
    """
    host, _, port = listen.rpartition(":")
    path = directory / f"danted-{port}.conf"
    path.write_text(
        f"""logoutput: stderr
internal: {host} port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: root
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: {allow} command: connect }}
"""
    )
    with _running([program, "-f", str(path), "-p", str(directory / f"danted-{port}.pid")], path, listen):
        yield


@contextmanager
def _running(command: Sequence[str], log: Path, listen: str | None) -> Iterator[None]:
    log = log.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        if listen is not None:
            _wait_until_listening(process, listen, log)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_listening(process: subprocess.Popen[bytes], listen: str, log: Path) -> None:
    host, _, port = listen.rpartition(":")
    deadline = time.monotonic() + PATIENCE
    while int(port) not in listening_inodes(host):
        if process.poll() is not None or time.monotonic() > deadline:
            raise OSError(errno.ECONNREFUSED, f"{process.args!r} does not listen:\n{log.read_text()}")
        time.sleep(0.01)
