"""What libraries raise at a file that is damaged or not theirs, and what of it to tell."""

import struct
import zipfile
import zlib
from pickle import UnpicklingError

UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    TypeError,
    SyntaxError,
    UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Of numpy, torch, pillow, gzip and zipfile together: each raises several of these, by where the damage is."""


def reason(problem: Exception) -> str:
    """Return one line on why a file could not be read.

    torch's own words on a refused pickle end in the advice to run whatever it says, which nobody should follow.
    """
    if isinstance(problem, UnpicklingError):
        return "it holds something else than tensors and plain values"
    return (str(problem) or type(problem).__name__).splitlines()[0]
