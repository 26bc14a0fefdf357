"""A bucket's lists: what is in them, and what is no list, though it comes as one."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import SceneError


class ListError(Exception):
    """What came is no list."""


@dataclass(frozen=True)
class Object:
    """An object, as a list has it; its tag is another once it is replaced."""

    key: str
    size: int
    tag: str | None


@dataclass(frozen=True)
class Page:
    """Part of a list, without the objects that some servers have for folders; a token asks for the next."""

    objects: list[Object]
    token: str | None


def read_page(answer: Mapping[str, Any]) -> Page:
    """Return what a list has.

    Raises:
        ListError: it is something else, of which botocore makes an answer without anything in it: a page
            of a proxy, or nothing at all. It would be taken for a list of no objects.
    """
    if "IsTruncated" not in answer:  # S3 says so in each
        raise ListError("the answer is not a list of objects")
    token = answer.get("NextContinuationToken")
    if answer["IsTruncated"] and not token:
        raise ListError("the list of objects is truncated and has no continuation token")
    try:
        found = [Object(each["Key"], each["Size"], tag_of(each)) for each in answer.get("Contents", [])]
    except KeyError as error:
        raise ListError(f"an object in the list has no {error.args[0]}") from error
    return Page([each for each in found if not each.key.endswith("/")], token)


def tag_of(told: Mapping[str, Any]) -> str | None:
    """Return the tag in what is told of an object."""
    tag = told.get("ETag")
    return tag.strip('"') if tag else None


def below(root: Path, key: str) -> Path:
    """Return where an object goes; SceneError if that is not below the root."""
    if ".." in PurePosixPath(key).parts or "\0" in key:
        raise SceneError(UNREADABLE, f"the archive has an object {key!r}, which is not a valid file name")
    return root / key.lstrip("/")


def version_of(objects: Mapping[Path, Object], path: Path) -> str | None:
    """Return the version of the object that goes to a path; None if the list has no tag of it.

    Raises:
        FileNotFoundError: there is no such object.
    """
    if path not in objects:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    found = objects[path]
    return None if found.tag is None else f"{found.size} {found.tag}"
