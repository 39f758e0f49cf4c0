"""The dump: all records of a store in one file, which is portable between backends.

The file is gzip. Its first member holds JSON Lines: a header that names the format and its version, then one exported
record a line, tenant by tenant in the order of their hashes, each tenant before what it holds, and before them all
the mark of a sealed store. Bytes are in base64. The second member, uncompressed and of a fixed length, holds one line
with the number of tenants and records and the SHA-256 of the whole first member as it lies in the file: so that no
byte can be missing, added or changed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from fusion_store._errors import (
    AlreadyExists,
    ConfigError,
    CorruptStore,
    FusionStoreError,
    InvalidInput,
    NotEncrypted,
    PermissionDenied,
    ReadOnly,
    SchemaTooNew,
    StorageFull,
    StorageIO,
    StoreNotFound,
)
from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    ExportedRecord,
    MarkRecord,
    SecretRecord,
    TenantRecord,
)
from fusion_store.backend._check import check_record
from fusion_store.backend._payloads import SEALED_MAGIC, check_payload

VERSION: Final = 1
"""The version of the format that this release writes, and the newest that it reads."""

_FORMAT: Final = "fusion-store dump"
_MAX_LINE_BYTES: Final = 4 * 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 1
"""What fills a dump is random, so that more effort saves next to nothing."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_HEADER: Final = _GZIP_MAGIC + b"\x08\x00\x00\x00\x00\x00\x00\xff"

_encode: Final = msgspec.json.Encoder().encode
_decode_record: Final = msgspec.json.Decoder(ExportedRecord).decode


class _Header(msgspec.Struct):
    format: str
    version: int


class Trailer(msgspec.Struct, frozen=True):
    """What the end of a dump says of the rest."""

    tenants: int
    records: int
    """Number of records, the mark of a sealed store not counted."""
    sha256: str
    """64 hex characters."""

    def to_bytes(self) -> bytes:
        """A gzip member that holds one line; always of the same length, and the same for the same trailer."""
        line = f'{{"tenants": {self.tenants:20}, "records": {self.records:20}, "sha256": "{self.sha256}"}}\n'.encode()
        length = len(line).to_bytes(2, "little") + (len(line) ^ 0xFFFF).to_bytes(2, "little")
        check = zlib.crc32(line).to_bytes(4, "little") + len(line).to_bytes(4, "little")
        return b"".join((_GZIP_HEADER, b"\x01", length, line, check))

    @classmethod
    def from_bytes(cls, member: bytes) -> Trailer:
        """The trailer in a member; ``CorruptStore`` unless it is one, to the last bit."""
        try:
            trailer = msgspec.json.decode(member[_LINE_AT:-8], type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _altered() from None
        if trailer.to_bytes() != member:
            raise _altered()
        return trailer


_LINE_AT: Final = len(_GZIP_HEADER) + 5
_TRAILER_BYTES: Final = len(Trailer(0, 0, "0" * 64).to_bytes())


def write_dump(path: str | os.PathLike[str], records: Iterable[ExportedRecord]) -> int:
    """Write records, as ``export_records`` gives them, to a new file with mode 0600; answers how many.

    Claims are left out. The file appears at ``path`` when it is complete and on disk; on a failure nothing is left
    there. Raises ``AlreadyExists`` when something stands there, ``CorruptRecord`` or ``InvalidInput`` for a record
    that doesn't read, and what iterating over ``records`` raises. The payloads of a plain store are secrets in plain
    text.
    """
    with _new_file(Path(path)) as file:
        return _write(file, records).records


def _write(file: IO[bytes], records: Iterable[ExportedRecord]) -> Trailer:
    order, digest, deflate = _Order(), sha256(), zlib.compressobj(_LEVEL, wbits=_GZIP)

    def put(data: bytes) -> None:
        digest.update(data)
        with _translated():
            file.write(data)

    put(deflate.compress(_encode(_Header(_FORMAT, VERSION)) + b"\n"))
    for record in records:
        line = _encode(order.checked(record)) + b"\n"
        if len(line) > _MAX_LINE_BYTES:
            raise InvalidInput("records", "a record is too large for a dump")
        put(deflate.compress(line))
    put(deflate.flush())
    trailer = Trailer(order.tenants, order.records, digest.hexdigest())
    put(trailer.to_bytes())
    return trailer


def read_dump(path: str | os.PathLike[str]) -> Iterator[ExportedRecord]:
    """The records of a dump. The whole file is verified before the first one is given.

    Raises ``CorruptStore`` when the file was cut short or altered or holds what doesn't read, ``SchemaTooNew`` when a
    newer release wrote it, ``ConfigError`` when it is no dump, and ``StoreNotFound`` when there is no file.
    """
    with Dump(path) as dump:
        yield from dump.records()


class Dump:
    """An open dump, verified when it was opened; raises what ``read_dump`` does."""

    trailer: Trailer
    mark: MarkRecord | None
    """The mark of a sealed store."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = _open(Path(path))
        try:
            self._verify()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def records(self) -> Iterator[ExportedRecord]:
        """All records, the mark of a sealed store first."""
        order, lines = _Order(), self._lines()
        _read_header(next(lines, b""))
        for line in lines:
            try:
                yield order.checked(_decode_record(line))
            except (msgspec.MsgspecError, UnicodeDecodeError, FusionStoreError):
                raise CorruptStore("the dump holds a record that doesn't read") from None
        if (order.tenants, order.records) != (self.trailer.tenants, self.trailer.records):
            raise _altered()

    def _verify(self) -> None:
        self._end = os.fstat(self._file.fileno()).st_size
        if not self._read(len(_GZIP_MAGIC), 0).startswith(_GZIP_MAGIC):
            raise _no_dump()
        # A newer format may end in another way: which one it is has to be known first.
        _read_header(next(self._lines(), b""))
        self._end = max(self._end - _TRAILER_BYTES, 0)
        self.trailer = Trailer.from_bytes(self._read(_TRAILER_BYTES + 1, self._end))
        digest = sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        if digest.hexdigest() != self.trailer.sha256:
            raise _altered()
        self.mark = None
        for record in self.records():
            if isinstance(record, MarkRecord):
                self.mark = record

    def _chunks(self) -> Iterator[bytes]:
        at = 0
        while chunk := self._read(min(_CHUNK_BYTES, self._end - at), at):
            yield chunk
            at += len(chunk)

    def _read(self, size: int, at: int) -> bytes:
        with _translated():
            return os.pread(self._file.fileno(), size, at)

    def _lines(self) -> Iterator[bytes]:
        """The lines of the first member, in bounded memory whatever the file holds."""
        inflate, rest = zlib.decompressobj(_GZIP), b""
        for chunk in self._chunks():
            for text in _inflated(inflate, chunk):
                *lines, rest = (rest + text).split(b"\n")
                yield from lines
                if len(rest) > _MAX_LINE_BYTES:
                    raise _altered()
        if rest or not inflate.eof:
            raise _altered()


def _inflated(inflate: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """What a chunk inflates to, piece by piece."""
    while True:
        try:
            text = inflate.decompress(chunk, _CHUNK_BYTES)
        except zlib.error:
            raise _altered() from None
        yield text
        if inflate.unused_data:
            raise _altered()
        chunk = inflate.unconsumed_tail
        # A full piece may have left something behind, even when all of the chunk was taken.
        if not chunk and len(text) < _CHUNK_BYTES:
            return


class _Order:
    """Checks that records are sound, and come in the order of a dump."""

    def __init__(self) -> None:
        self.tenants = self.records = 0
        self._sealed = False
        self._tenant_hash = ""

    def checked(self, record: ExportedRecord) -> ExportedRecord:
        """The record without its claim; ``InvalidInput``, ``CorruptRecord`` or an ``EncryptionError``."""
        record = check_record(record)
        if isinstance(record, MarkRecord):
            if self._sealed or self.records:
                raise InvalidInput("records", "a mark must come first")
            self._sealed = True
            return record
        self.records += 1
        if isinstance(record, TenantRecord):
            if record.tenant_hash <= self._tenant_hash:
                raise InvalidInput("records", "tenants must come in the order of their hashes")
            self._tenant_hash = record.tenant_hash
            self.tenants += 1
        elif _tenant_of(record) != self._tenant_hash:
            raise InvalidInput("records", "a record must come behind its tenant")
        if isinstance(record, SecretRecord | AuthCodeRecord):
            self._check_payload(record)
        return record

    def _check_payload(self, record: SecretRecord | AuthCodeRecord) -> None:
        if not self._sealed:
            check_payload(record)
        elif not record.payload.startswith(SEALED_MAGIC):
            raise NotEncrypted("a plain payload stands in a sealed vault")


def _tenant_of(record: APITokenRecord | SecretRecord | CounterRecord | AuthCodeRecord) -> str:
    return record.tenant_hash if isinstance(record, APITokenRecord) else record.place.tenant_hash


def _read_header(line: bytes) -> None:
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        header = None
    if header is None or header.format != _FORMAT:
        raise _no_dump()
    if header.version > VERSION:
        raise SchemaTooNew(f"the dump has format version {header.version}; this release reads up to {VERSION}")
    if header.version != VERSION:
        raise _no_dump()


def _no_dump() -> ConfigError:
    return ConfigError("the file is no fusion-store dump")


def _altered() -> CorruptStore:
    return CorruptStore("the dump was cut short or altered")


def _open(path: Path) -> IO[bytes]:
    with _translated():
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # Not a pipe: the file is read more than once.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConfigError("the path of the dump leads to no file")
        return os.fdopen(descriptor, "rb", buffering=0)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at ``path`` when the block has ended, and not at all when it raises."""
    with _translated():
        _refuse_standing(path)
        unfinished = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    file = os.fdopen(descriptor, "wb", buffering=_CHUNK_BYTES)
    try:
        yield file
        with _translated():
            file.flush()
            os.fsync(descriptor)
            file.close()
            _move(unfinished, path)
            _sync_folder(path.parent)
    except BaseException:
        # What couldn't be written is tried again by closing.
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            unfinished.unlink()
        raise


def _move(unfinished: Path, path: Path) -> None:
    """Rename, replacing nothing."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        _refuse_standing(path)
        raise
    except OSError:
        # A file system without links.
        _refuse_standing(path)
        unfinished.rename(path)
    else:
        unfinished.unlink()


def _refuse_standing(path: Path) -> None:
    if os.path.lexists(path):
        raise AlreadyExists("something stands at that path already")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what the operating system refuses inside the block into a ``FusionStoreError``."""
    try:
        yield
    except OSError as error:
        raise _translate(error) from None


def _translate(error: OSError) -> FusionStoreError:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return StorageFull("no room is left where the dump lies")
        case errno.EACCES | errno.EPERM:
            return PermissionDenied("the dump, or the folder it lies in, can't be used: check their modes")
        case errno.EROFS:
            return ReadOnly("the folder that the dump lies in can't be written")
        case errno.ENOENT | errno.ENOTDIR:
            return StoreNotFound("there is no dump at that path, or no such folder")
        case errno.EISDIR:
            return ConfigError("the path of the dump leads to no file")
    return StorageIO(f"the dump can't be read or written: {error.strerror}")
