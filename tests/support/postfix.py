"""Postfix as a mail server of its own: its configuration, its queue, its log and its mailboxes in one place.

Rule: what a test says of Postfix is in two files of Postfix's own, as an administrator writes them. Only what
keeps one instance apart from others, and from the machine that it runs on, is said here.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from .real_software import require, unavailable
from .site import PATIENCE

_DAEMONS: Final = Path("/usr/lib/postfix/sbin")

# None of its processes in a chroot, and none that a test does not need.
_MASTER: Final = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One that runs. Its log is read as it is written."""

    def __init__(self, directory: Path, domain: str, inside: Sequence[str]) -> None:
        self.domain = domain
        self.directory = directory
        self.configuration = directory / "etc"
        self.lines: list[str] = []
        self._inside = tuple(inside)
        self._arrived = threading.Condition()
        self._ended = False
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._inside, "postfix", "-c", str(self.configuration), "start-fg"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("daemon started")

    def stop(self) -> None:
        self.command("postfix", "stop")
        self._process.wait(PATIENCE)

    def command(self, program: str, *arguments: str) -> None:
        """One of Postfix's own commands, on this instance."""
        subprocess.run(
            [*self._inside, program, "-c", str(self.configuration), *arguments],
            capture_output=True,
            timeout=PATIENCE,
        )

    @property
    def mark(self) -> int:
        """Where the log is now, for ``wait_for(after=…)``."""
        return len(self.lines)

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """The first line of the log from ``after`` on in which the pattern is found."""
        position = after
        with self._arrived:
            while True:
                while position < len(self.lines):
                    found = re.search(pattern, self.lines[position])
                    position += 1
                    if found:
                        return found
                if self._ended or not self._arrived.wait(PATIENCE):
                    log = "\n".join(self.lines)
                    raise AssertionError(f"no {pattern!r} in the log of Postfix at {self.domain}:\n{log}")

    def mail_for(self, user: str) -> list[EmailMessage]:
        """What has been delivered."""
        box = self.directory / "mail" / "all" / "new"
        files = sorted(box.iterdir()) if box.exists() else []
        mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        return [mail for mail in mails if mail["Delivered-To"] == f"{user}@{self.domain}"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as log:
            for line in log:
                with self._arrived:
                    self.lines.append(line.rstrip("\n"))
                    self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()


@contextmanager
def postfix(
    domain: str,
    *,
    main: str = "",
    master: str = "",
    files: Sequence[Path] = (),
    daemons: Sequence[Path] = (),
    inside: Sequence[str] = (),
) -> Iterator[Postfix]:
    """A Postfix that keeps the mail of a domain, until the block ends.

    :param main: goes behind what is in main.cf; what is said there counts.
    :param master: goes behind what is in master.cf, which has no smtpd.
    :param files: copied beside the two.
    :param daemons: copied to where its daemons are.
    :param inside: what to put in front of a command to run it on another machine.
    """
    require("postfix")
    if os.geteuid() != 0:
        unavailable("Postfix is started by root")
    # Not where pytest keeps its own, which nobody else may enter: most of Postfix runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="tidegate-mail-") as place:
        directory = Path(place)
        directory.chmod(0o755)
        made = Postfix(directory, domain, inside)
        _lay_out(made, main, master, files, daemons)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _lay_out(made: Postfix, main: str, master: str, files: Sequence[Path], daemons: Sequence[Path]) -> None:
    directory, nobody = made.directory, pwd.getpwnam("nobody")
    for name in ("etc", "queue", "data", "mail"):
        (directory / name).mkdir()
    shutil.copytree(_DAEMONS, directory / "sbin", symlinks=True)
    for daemon in daemons:
        shutil.copy(daemon, directory / "sbin")
    for file in files:
        shutil.copy(file, made.configuration)
    owner = pwd.getpwnam("postfix")
    os.chown(directory / "data", owner.pw_uid, owner.pw_gid)
    os.chown(directory / "mail", nobody.pw_uid, nobody.pw_gid)
    (made.configuration / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
daemon_directory = {directory}/sbin
command_directory = /usr/sbin
mail_owner = {owner.pw_name}
setgid_group = {grp.getgrnam("postdrop").gr_name}
maillog_file = /dev/stdout
myhostname = mail.{made.domain}
mydestination =
inet_protocols = ipv4
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
alias_maps =
alias_database =
virtual_mailbox_domains = {made.domain}
virtual_mailbox_base = {directory}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
{main}"""
    )
    (made.configuration / "master.cf").write_text(f"{_MASTER}{master}")
