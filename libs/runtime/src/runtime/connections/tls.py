"""TLS contexts of clients. Certificates that are renewed on disk are used for the next connection."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from typing_extensions import override

# `runtime.logs` cannot be used here, because it imports this module
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files. Without `ca`, the certificate authorities of the operating system are trusted."""

    ca: str = ""
    certificate: str = ""
    """The client's certificate, followed by its intermediate certificates."""
    key: str = ""
    """The key of the certificate. If empty, the file of the certificate contains the key, too."""
    key_password: str = field(default="", repr=False)


class TlsFileError(ValueError):
    """A file cannot be used. The message begins with the name of the setting."""


@dataclass(frozen=True)
class FileNames:
    """The settings that name the files, for messages."""

    ca: str
    certificate: str
    key: str
    key_password: str


class _RenewingContext(ssl.SSLContext):
    """Loads the files again before a handshake if they have changed. An authority that was removed from the file stays
    trusted until a restart.
    """

    files: TlsFiles
    loaded: tuple[object, ...]

    @override
    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Called by asyncio and by uvloop for each connection."""
        version = _version(self.files)
        if version != self.loaded:
            self.loaded = version  # set also if loading fails: the files are loaded again only after their next change
            try:
                _load(self, self.files)
            except (OSError, ssl.SSLError) as error:
                log.error(  # noqa: TRY400 -- a traceback would add nothing
                    "Renewed certificates cannot be loaded; the previous ones stay in use",
                    action="certificate_renewal_failed",
                    files=[path for path in _paths(self.files) if path],
                    error=str(error),
                )
        return super().wrap_bio(*arguments, **options)


def client_context(files: TlsFiles, *, check_certificate: bool = True, check_host: bool = True) -> ssl.SSLContext:
    """A context for TLS 1.2 and newer. Raises `OSError` or `ssl.SSLError` if a file cannot be used."""
    context = _RenewingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = check_certificate and check_host
    context.verify_mode = ssl.CERT_REQUIRED if check_certificate else ssl.CERT_NONE
    context.files, context.loaded = files, _version(files)
    if not files.ca:
        context.load_default_certs()
    _load(context, files)
    return context


def file_problems(files: TlsFiles, names: FileNames) -> list[str]:
    """The problems of the files, each with the name of the setting and what to do."""
    if files.key and not files.certificate:
        return [f"{names.key} is set, but {names.certificate} is not: set both, or none"]
    if files.key_password and not files.certificate:
        return [f"{names.key_password} is set, but {names.certificate} is not: set both, or none"]
    problems = [
        *_unreadable(names.ca, files.ca),
        *_unreadable(names.certificate, files.certificate),
        *_unreadable(names.key, files.key),
    ]
    return problems or [*_bad_authorities(files, names), *_bad_pair(files, names)]


def _unreadable(name: str, path: str) -> Iterable[str]:
    if not path:
        return
    try:
        Path(path).read_bytes()
    except OSError as error:
        yield f"{name} is not valid: cannot read {path} ({error.strerror})"


def _bad_authorities(files: TlsFiles, names: FileNames) -> Iterable[str]:
    if not files.ca:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=files.ca)
    except ssl.SSLError:
        yield f"{names.ca} is not valid: {files.ca} contains no certificate in PEM format"


def _bad_pair(files: TlsFiles, names: FileNames) -> Iterable[str]:
    if not files.certificate:
        return
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TlsFiles(**(vars(files) | {"ca": ""})))
    except ssl.SSLError as error:
        where = files.key or files.certificate
        yield (
            f"{names.certificate} is not valid: {files.certificate} and the key in {where} cannot be used together "
            f"({error.reason or 'not PEM, or encrypted with another password'}). Check {names.key} and "
            f"{names.key_password}"
        )


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.ca:
        context.load_verify_locations(cafile=files.ca)
    if files.certificate:
        # Always pass a password. Without one, OpenSSL would request it at the terminal.
        context.load_cert_chain(files.certificate, files.key or None, password=files.key_password)


def _paths(files: TlsFiles) -> tuple[str, str, str]:
    return files.ca, files.certificate, files.key


def _version(files: TlsFiles) -> tuple[object, ...]:
    """A value that changes if a file is written or replaced."""
    return tuple(_file_version(path) for path in _paths(files) if path)


def _file_version(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
