"""The objects of an archive in a bucket of S3: list, write and read them."""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from botocore.httpsession import get_cert_path
from pyarrow import fs

from cbmctl.archive.disk_space import managed_cache
from cbmctl.config import Config
from cbmctl.config.archive import Service
from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive import object_errors, parquet
from cbmctl.maintenance.season_archive.layout import PARTIAL, put_in_place
from cbmctl.maintenance.season_archive.object_errors import BRING_BACK

Progress = Callable[[int], None]
SUMS = "SHA256SUMS"
ALONE = "Make sure that nothing else writes to this prefix"
# The library uploads parts of 10 MiB, and S3 takes 10,000 of them.
LARGEST = 10_000 * 10 * 2**20
_PART = 10 * 2**20
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.=+@-]+"
_URL = re.compile(rf"s3://([A-Za-z0-9][A-Za-z0-9._-]{{0,254}})/({_SEGMENT}(?:/{_SEGMENT})*)/?")
_MOST_CHARACTERS = 512
_SUM = re.compile(r"([0-9a-f]{64}) [ *]([^/\s]+)")
# Of the library's SDK. Other services than Amazon's may not know trailing checksums; the body is signed.
_ENVIRONMENT = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Sum(NamedTuple):
    """Size and SHA-256 of a file or an object."""

    size: int
    digest: str


@dataclass(frozen=True)
class Url:
    """Where an archive is: s3://BUCKET/PREFIX."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def read_url(text: str) -> Url:
    """Read the URL of an archive. Raises UserError if it is invalid."""
    found = _URL.fullmatch(text)
    if not found or len(text) > _MOST_CHARACTERS:
        raise UserError(
            "season_archive.invalid_url",
            f"'{text}' is not a valid URL of an archive",
            (
                "Use s3://BUCKET/PREFIX with letters, digits and any of _ . = + @ - in each part, such as"
                " s3://seasons/dk/2021"
            ),
        )
    return Url(found[1], found[2])


def sum_of_file(path: Path) -> Sum:
    """Return size and SHA-256 of a local file. Raises UserError if it cannot be read."""
    digest, size = sha256(), 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return Sum(size, digest.hexdigest())


class Objects:
    """The objects of an archive.

    Attributes:
        url: of the archive.
        service: that keeps it.
    """

    def __init__(self, config: Config, url: Url) -> None:
        """Read the keys; nothing is asked yet.

        Raises:
            UserError: archive_s3 is missing in the configuration, or the keys cannot be read.
        """
        if config.archive_s3 is None:
            raise UserError(
                "season_archive.no_settings",
                f"{config.source}: archive_s3 is missing, but {url} requires it",
                (
                    "Add archive_s3 with endpoint and key_file, or use a folder. If Ansible manages this VM,"
                    " set tenant_archive_s3 in the inventory and run playbooks/worker_image.yml"
                ),
                about="archive_s3",
            )
        self.url, self.service = url, config.archive_s3
        self._files = _file_system(self.service)

    def name(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{name}"

    def sizes(self) -> dict[str, int]:
        """Return the objects and their sizes.

        Raises:
            UserError: the bucket does not exist, the keys are invalid or have no permission, or the service
                does not answer.
        """
        selector = fs.FileSelector(f"{self.url.bucket}/{self.url.prefix}", allow_not_found=True)
        with self._asking(f"list {self.url}"):
            found = self._files.get_file_info(selector)
        if not found:
            self._require_bucket()
        return {info.base_name: info.size for info in found if info.type == fs.FileType.File}

    def footer(self, name: str) -> dict[str, str]:
        """Return the metadata of a Parquet object's footer; only that is read.

        Raises:
            UserError: the object cannot be read.
        """
        with (
            self._asking(f"read {self.name(name)}"),
            self._files.open_input_file(f"{self.url.bucket}/{self.url.prefix}/{name}") as file,
        ):
            return parquet.footer(file)

    def require_writable(self) -> None:
        """Write an empty list of checksums: a permission that is missing is reported before hours of work.

        Raises:
            UserError: the keys have no permission to write.
        """
        self._write(SUMS, iter(()))

    def upload(self, path: Path, progress: Progress, *, size: int | None) -> Sum:
        """Write a file as an object and read it back; an object that equals the file is only read.

        Args:
            path: the file; its name is the object's.
            progress: given numbers of bytes of the file.
            size: of the existing object; None if the object does not exist.

        Returns:
            Size and SHA-256 of the file.

        Raises:
            UserError: the object cannot be written, or differs from the file when it is read back.
        """
        wanted = sum_of_file(path)
        if size == wanted.size and self.sum(path.name) == wanted:
            progress(wanted.size)
            return wanted
        self._write(path.name, _counted(_chunks(path), progress))
        self._require_written(path.name, wanted)
        return wanted

    def write_sums(self, sums: Mapping[str, Sum]) -> None:
        """Write the list of checksums, as sha256sum reads it. Raises UserError if it cannot be written."""
        text = "".join(f"{one.digest}  {name}\n" for name, one in sorted(sums.items())).encode()
        self._write(SUMS, iter((text,)))
        self._require_written(SUMS, Sum(len(text), sha256(text).hexdigest()))

    def read_sums(self) -> dict[str, str]:
        """Return the SHA-256 of each object as it was uploaded. Raises UserError if the list is damaged."""
        lines = b"".join(self._read(SUMS)).decode("utf-8", "replace").splitlines()
        found = [_SUM.fullmatch(line) for line in lines]
        if not all(found):
            raise UserError(
                "season_archive.damaged", f"{self.name(SUMS)} is damaged", BRING_BACK, about=self.name(SUMS)
            )
        return {match[2]: match[1] for match in found if match}

    def sum(self, name: str) -> Sum:
        """Read an object in full and return its size and SHA-256. Raises UserError if it cannot be read."""
        digest, size = sha256(), 0
        for chunk in self._read(name):
            digest.update(chunk)
            size += len(chunk)
        return Sum(size, digest.hexdigest())

    def download(self, name: str, path: Path, progress: Progress) -> Sum:
        """Copy an object to a file, which gets its name when it is whole.

        Raises:
            UserError: the object cannot be read, or the disk is full.
        """
        partial = path.with_name(path.name + PARTIAL)
        digest, size = sha256(), 0
        chunks = self._read(name)
        try:
            with partial.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                    progress(len(chunk))
            put_in_place(partial)
        except OSError as error:
            raise unwritable(path, error) from error
        return Sum(size, digest.hexdigest())

    def require_sum(self, name: str, found: Sum, digest: str, size: int) -> None:
        """Raise UserError if an object is not what was uploaded."""
        if found != Sum(size, digest):
            raise self._changed(name, found, Sum(size, digest), SUMS, BRING_BACK)

    def _require_written(self, name: str, wanted: Sum) -> None:
        if (found := self.sum(name)) != wanted:
            remedy = f"{ALONE}, and run the command again; or use another prefix."
            raise self._changed(name, found, wanted, "that of the uploaded file", remedy)

    def _changed(self, name: str, found: Sum, wanted: Sum, source: str, remedy: str) -> UserError:
        what = f"its SHA-256 differs from {source}"
        if found.size != wanted.size:
            what = f"it has {found.size} bytes, expected {wanted.size}"
        return UserError(
            "season_archive.changed_by_others",
            f"{self.name(name)} was changed by somebody else or is damaged: {what}",
            remedy,
            about=self.name(name),
        )

    def _require_bucket(self) -> None:
        """Raise UserError if there is no such bucket. A list of a missing bucket is empty as well."""
        try:
            info = self._files.get_file_info(self.url.bucket)
        except OSError:
            return  # the keys may be for objects only
        if info.type == fs.FileType.NotFound:
            raise object_errors.no_bucket(self.service, self.url.bucket)

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        key = f"{self.url.bucket}/{self.url.prefix}/{name}"
        with self._asking(f"write {self.name(name)}"):
            stream = self._files.open_output_stream(key)
        try:
            for chunk in chunks:
                with self._asking(f"write {self.name(name)}"):
                    stream.write(chunk)
        except BaseException:
            # to close a stream completes its object, of which a part is written
            with suppress(OSError):
                stream.close()
                self._files.delete_file(key)
            raise
        with self._asking(f"write {self.name(name)}"):
            stream.close()

    def _read(self, name: str) -> Iterator[bytes]:
        key, doing = f"{self.url.bucket}/{self.url.prefix}/{name}", f"read {self.name(name)}"
        with self._asking(doing):
            stream = self._files.open_input_stream(key)
        with stream:
            while True:
                with self._asking(doing):
                    chunk = stream.read(_PART)
                if not chunk:
                    return
                yield chunk

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise object_errors.explain(error, doing, self.service, self.url.bucket) from error


def unwritable(path: Path, error: OSError) -> UserError:
    """Return what is reported if a local file cannot be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        remedy = "Free space on that disk"
    else:
        remedy = "Make the folder writable for this user"
    return UserError(
        "season_archive.unwritable",
        f"{path} cannot be written ({error.strerror or error})",
        f"{remedy}, or set cache in db_config.json to another folder. {managed_cache(error)}",
        about="cache",
    )


def _file_system(service: Service) -> fs.S3FileSystem:
    access, secret = service.keys()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    scheme, _, host = service.endpoint.partition("://")
    return fs.S3FileSystem(
        access_key=access,
        secret_key=secret,
        region=service.region,
        scheme=scheme,
        endpoint_override=host,
        force_virtual_addressing=not service.path_style,
        # the same public CAs as for eodata
        tls_ca_file_path=str(service.ca_file or get_cert_path(True)),
        # otherwise parts pile up in memory if the disk is faster than the network
        background_writes=False,
        connect_timeout=object_errors.CONNECT_TIMEOUT_S,
        request_timeout=object_errors.TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=object_errors.ATTEMPTS),
    )


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_PART):
                yield chunk
    except OSError as error:
        raise UserError(
            "season_archive.unreadable",
            f"{path} cannot be read ({error.strerror or error})",
            "Check the disk, and run the command again",
            about=path,
        ) from error


def _counted(chunks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        progress(len(chunk))
