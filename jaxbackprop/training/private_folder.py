"""Whether what lies in a folder can be trusted as the user's own: compiled programs are run as they are found."""

import os
from pathlib import Path


def is_private(folder: Path) -> bool:
    """Whether the folder is the user's and nobody else can write there; one that does not exist yet will be."""
    if not hasattr(os, "getuid") or not folder.exists():
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
