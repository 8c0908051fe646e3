"""Small files that the operator wrote, read within bounds; errors tell nothing of their content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MAX_FILE_BYTES = 1 << 20


def read(path: Path, understand: Callable[[str], T]) -> T:
    """Give what `understand` makes of a file's text, UTF-8 of up to `MAX_FILE_BYTES`.

    Raises:
        ValueError: it cannot be read, is not that, or is not understood; the text says why, after
            the path.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        return understand(content.decode())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
