"""Zip archives as they come from agencies' offices: unpacked whole, or refused with the reason."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cbmctl.errors import UserError
from cbmctl.parcels.files import deflate64, formats

ENCRYPTED = 0x1
CATALOGUE = "a00000001.gdbtable"  # every FileGDB has it
DEFLATE64 = 9  # of Windows Explorer, for files over 2 GB
# zip's numbers of methods that Python cannot unpack, as their programs call them
METHODS = {
    1: "Shrink",
    6: "Implode",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}


def unpack(archive: Path, folder: Path, shown: str) -> list[str]:
    """Unpack every file that a parcels file may consist of, each compared with its checksum; name the others.

    A FileGDB whose tables are in a folder of another name, or in no folder, gets a folder `….gdb`.

    Args:
        archive: the archive.
        folder: where to; it is empty.
        shown: what messages call the archive.

    Raises:
        UserError: the archive is damaged, encrypted, or packed by a method that cannot be unpacked.
        OSError: the disk is full.
    """
    left_out: list[str] = []
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            databases = _unnamed_databases(members, archive.stem)
            for member in members:
                name = _plain_name(member.filename)
                if member.is_dir() or name.endswith("/"):
                    continue
                if (above := PurePosixPath(name).parent) in databases:
                    name = str(databases[above] / PurePosixPath(name).name)
                if _wanted(name):
                    _unpack(packed, member, folder / _safe(name, shown), f"{name} in {shown}")
                else:
                    left_out.append(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(
            "parcels.damaged",
            f"{shown} is not a complete zip archive ({error})",
            "Deliver it again",
            about=shown,
        ) from error
    return left_out


def _plain_name(name: str) -> str:
    """PowerShell's Compress-Archive of Windows 10 writes backslashes between folders."""
    return name.replace("\\", "/")


def _unnamed_databases(members: list[zipfile.ZipInfo], stem: str) -> dict[PurePosixPath, PurePosixPath]:
    """The folders that are a FileGDB by what is in them, but not by name; the names that they get."""
    paths = [PurePosixPath(_plain_name(member.filename)) for member in members]
    folders = {
        path.parent for path in paths if path.name.lower() == CATALOGUE and not formats.hidden(str(path))
    }
    alone = PurePosixPath(stem if formats.format_of(stem).folder else f"{stem}.gdb")
    return {
        folder: folder.with_name(f"{folder.name}.gdb") if folder.name else alone
        for folder in folders
        if not formats.format_of(folder.name).folder
    }


def _wanted(name: str) -> bool:
    if formats.hidden(name):
        return False
    if any(formats.format_of(folder).folder for folder in PurePosixPath(name).parts[:-1]):
        return True
    return formats.suffix_of(name) in formats.ARCHIVES or formats.is_part(name)


def _safe(name: str, shown: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            "parcels.unsafe_path",
            f"{shown} holds a file outside its folder ({name})",
            "Pack it again without it",
            about=shown,
        )
    return path


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, shown: str) -> None:
    if member.flag_bits & ENCRYPTED:
        raise UserError(
            "parcels.encrypted",
            f"{shown} is encrypted",
            "Unpack it with its password, and name the unpacked file",
            about=shown,
        )
    if target.exists():
        raise UserError("parcels.doubled", f"{shown} occurs twice", "Pack the archive again", about=shown)
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.compress_type == DEFLATE64:
        deflate64.unpack(Path(str(packed.filename)), member, target)
        return
    try:
        with packed.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except NotImplementedError as error:  # so zipfile refuses a method of compression
        method = METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise UserError(
            "parcels.unsupported_compression",
            f"{shown} is compressed with {method}",
            (
                "This is not supported. Unpack it, and name the unpacked file or its folder, or pack it"
                " again with the method Deflate"
            ),
            about=shown,
        ) from error
