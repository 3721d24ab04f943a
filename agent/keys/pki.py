"""A directory of keys and certificates: what ``tidegate pki`` writes.

Rule: this file alone writes keys. What exists is not overwritten unless that was
asked for, nobody but the owner can read a key, and no file is ever seen half
written. What the certificates say is decided in :mod:`agent.keys.certificates`.

Everything here blocks on the disk.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from schemas.names import check_name
from schemas.quoting import quote

from .certificates import (
    AUTHORITY_LIFETIME,
    LEAF_LIFETIME,
    Credentials,
    create_authority,
    sign_client,
    sign_gateway,
)
from .certificates import PkiError as PkiError  # what everything here raises
from .revoking import ListError, revoke, serial_of

REVOCATION_LIST: Final = "crl.pem"
"""The name of the file of an authority's revocation list, in its directory."""

_AUTHORITY: Final = "ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What was written, and until when it is good."""

    certificate: Path
    key: Path
    expires: datetime


def init_authority(
    directory: Path,
    *,
    name: str = "Tidegate CA",
    lifetime: timedelta = AUTHORITY_LIFETIME,
    force: bool = False,
    now: datetime | None = None,
) -> Issued:
    """Write ``ca.crt`` and ``ca.key``, and a list on which nobody is, ``crl.pem``.

    With ``force`` they replace others, and all that those signed is void. The directory is made if it is not
    there, for the owner alone.

    :raises PkiError: if there is an authority already, or it cannot be written.
    """
    authority = create_authority(name=name, lifetime=lifetime, now=now)
    path = directory / REVOCATION_LIST
    issued = _write(directory, _AUTHORITY, authority, force=force, beside=(path,))
    with _alone_in(directory):
        _list_on(path, authority, [], before=None, now=now)
    return issued


def issue_gateway(
    directory: Path,
    *,
    hosts: Sequence[str],
    name: str = "gateway",
    lifetime: timedelta = LEAF_LIFETIME,
    force: bool = False,
    now: datetime | None = None,
) -> Issued:
    """Write ``<name>.crt`` and ``<name>.key`` for a gateway that clients dial by any of ``hosts``.

    :raises PkiError: if there is no authority in the directory, a host is not one, the files exist, or they
        cannot be written.
    """
    stem = _stem(name)
    signed = sign_gateway(_read_authority(directory), name=name, hosts=hosts, lifetime=lifetime, now=now)
    return _write(directory, stem, signed, force=force)


def issue_client(
    directory: Path,
    *,
    client_id: str,
    domain: str | None = None,
    lifetime: timedelta = LEAF_LIFETIME,
    force: bool = False,
    now: datetime | None = None,
) -> Issued:
    """Write ``<client_id>.crt`` and ``<client_id>.key``; ``domain`` is that of the gateway's state file.

    :raises PkiError: if there is no authority in the directory, the id or the domain is not one, the files
        exist, or they cannot be written.
    """
    stem = _stem(client_id)
    authority = _read_authority(directory)
    signed = sign_client(authority, client_id=client_id, domain=domain, lifetime=lifetime, now=now)
    return _write(directory, stem, signed, force=force)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A revocation list, and whether it says anything that it did not say before."""

    path: Path
    serial: int
    is_new: bool


def begin_list(directory: Path, *, now: datetime | None = None) -> bool:
    """Make the authority's list, ``crl.pem``, with nobody on it; False if there is one.

    :raises PkiError: if there is no authority in the directory, or the list cannot be read or written.
    """
    authority = _read_authority(directory)
    path = directory / REVOCATION_LIST
    with _alone_in(directory):
        return _list_on(path, authority, [], before=_read_list(path), now=now)


def revoke_client(directory: Path, *, name: str, now: datetime | None = None) -> Revoked:
    """Put the certificate ``<name>.crt`` on the authority's list, ``crl.pem``.

    :raises PkiError: if there is no authority or no such certificate in the directory, it is another
        authority's, or the list cannot be read or written.
    """
    authority = _read_authority(directory)
    path = directory / f"{_stem(name)}.crt"
    try:
        certificate = path.read_bytes()
    except OSError as error:
        raise PkiError(
            f"{path} cannot be read: {error.strerror}; if the certificate is gone or was replaced, name its "
            "number with --serial: tidegate status --json of the gateway tells it"
        ) from error
    try:
        serial = serial_of(authority, certificate)
    except PkiError as error:
        raise PkiError(f"{path}: {error}") from error
    return revoke_serial(directory, serial=serial, now=now)


def revoke_serial(directory: Path, *, serial: int, now: datetime | None = None) -> Revoked:
    """Put the certificate with that number on the authority's list. It need not be there any more.

    :raises PkiError: if there is no authority in the directory, no certificate can have that number, or the
        list cannot be read or written.
    """
    if not 0 < serial < 1 << 159:  # RFC 5280, section 4.1.2.2
        raise PkiError(
            f"{serial} is the number of no certificate: look at tidegate status --json of the gateway"
        )
    authority = _read_authority(directory)
    path = directory / REVOCATION_LIST
    with _alone_in(directory):
        is_new = _list_on(path, authority, [serial], before=_read_list(path), now=now)
    return Revoked(path=path, serial=serial, is_new=is_new)


def _read_list(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.exists() else None
    except OSError as error:
        raise PkiError(f"{path} cannot be read: {error.strerror}") from error


def _list_on(
    path: Path,
    authority: Credentials,
    serials: Sequence[int],
    *,
    before: bytes | None,
    now: datetime | None,
) -> bool:
    """Write the list with these certificates on it; whether it says anything that it did not say before."""
    try:
        after = revoke(authority, serials, before=before, now=now)
        if after is not None:
            _replace(path, after, mode=0o644)
    except ListError as error:
        raise PkiError(f"{path}: {error}") from error
    except OSError as error:
        raise PkiError(f"{error.filename or path} cannot be written: {error.strerror}") from error
    return after is not None


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Of two who revoke at a time, one would otherwise take from the list whom the other has put on it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _stem(name: str) -> str:
    try:
        check_name(name)
    except ValueError as error:
        raise PkiError(str(error)) from error
    # In capitals too: on some file systems CA.key is ca.key.
    if name.lower() == _AUTHORITY:
        raise PkiError(f"{quote(name)} is the name of the authority's own files: choose another name")
    return name


def _read_authority(directory: Path) -> Credentials:
    try:
        return Credentials(
            certificate=(directory / f"{_AUTHORITY}.crt").read_bytes(),
            key=(directory / f"{_AUTHORITY}.key").read_bytes(),
        )
    except FileNotFoundError as error:
        raise PkiError(
            f"{directory} holds no certificate authority ({error.filename} is missing): "
            f"make one first with tidegate pki init {directory}"
        ) from error
    except OSError as error:
        raise PkiError(f"{error.filename} cannot be read: {error.strerror}") from error


def _write(
    directory: Path, stem: str, credentials: Credentials, *, force: bool, beside: Sequence[Path] = ()
) -> Issued:
    """:param beside: other files that the caller writes when this has been done; their names are taken."""
    certificate, key = directory / f"{stem}.crt", directory / f"{stem}.key"
    try:
        _make_directory(directory)
        reserved = () if force else _reserve(key, certificate, *beside)
        try:
            _replace(key, credentials.key, mode=0o600)
            _replace(certificate, credentials.certificate, mode=0o644)
        except BaseException:
            for path in reserved:
                path.unlink(missing_ok=True)
            raise
    except FileExistsError as error:
        consequence = " (all that it signed becomes void)" if stem == _AUTHORITY else ""
        raise PkiError(
            f"{error.filename} exists already and was left as it is: "
            f"choose another name or directory, or replace it with --force{consequence}"
        ) from error
    except OSError as error:
        raise PkiError(f"{error.filename or directory} cannot be written: {error.strerror}") from error
    return Issued(certificate=certificate, key=key, expires=credentials.expires)


def _make_directory(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise PkiError(f"{directory} is a file: name a directory for the keys")
    if not directory.exists():
        # The parents are ordinary directories; only the one with the keys is closed to others.
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)


def _reserve(*paths: Path) -> tuple[Path, ...]:
    """Take all the names or none.

    An empty file holds the place until the whole one is renamed over it. O_EXCL makes this the one moment
    that decides between two that issue the same name; looking first and writing later would not. A hard link
    would do without the empty file, but not every file system has them.

    :raises FileExistsError: if one of them is there already.
    """
    taken: list[Path] = []
    try:
        for path in paths:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            taken.append(path)
    except OSError:
        for path in taken:
            path.unlink(missing_ok=True)
        raise
    return tuple(taken)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    """Put a whole file there in one step, and have it on the disk before returning."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, O_EXCL
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, which no Path can open
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a str
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108 - mkstemp gives a str
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
