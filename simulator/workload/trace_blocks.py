"""A trace file as blocks of whole lines, so that its size does not decide the memory it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from simulator.errors import InputError, Location, did_you_mean, nearest

BLOCK_BYTES = 2**22
MAX_LINE_BYTES = 2**24
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of UTF-8 text, each ended by a newline; ``first_line`` counts from 1."""

    data: bytes
    first_line: int
    file: str

    def lines(self) -> list[str]:
        """The lines without their ends."""
        return [line.rstrip("\r") for line in self.data.decode().split("\n")[:-1]]

    def line(self, index: int) -> str:
        """One line, counted from 0 within the block."""
        return self.data.split(b"\n", index + 1)[index].decode().rstrip("\r")

    def split(self, count: int) -> tuple[Block, Block | None]:
        """The first ``count`` lines, and the rest if there is any."""
        end = -1
        for _ in range(count):
            end = self.data.find(b"\n", end + 1)
            if end < 0:
                return self, None
        if end + 1 >= len(self.data):
            return self, None
        rest = Block(self.data[end + 1 :], self.first_line + count, self.file)
        return Block(self.data[: end + 1], self.first_line, self.file), rest

    def location(self, index: int, column: int, length: int = 1) -> Location:
        """A place in the block's line ``index``; ``column`` counts from 1."""
        return Location(
            self.file, self.first_line + index, column, self.line(index), max(1, length)
        )


def read_blocks(path: str | Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a file, in order, without a byte-order mark and without blank lines at its end.

    Raises ``InputError`` for a missing file (with the nearest name beside it), a directory, an
    unreadable file, bytes that are not UTF-8, and a line of more than 16 MiB.
    """
    try:
        if Path(path).is_dir():
            raise InputError(
                f"'{path}' is a directory, expected a trace file", location=Location(str(path))
            )
        with Path(path).open("rb") as stream:
            yield from _blocks(stream, str(path), block_bytes)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(
            f"cannot read trace '{path}': {reason}", location=Location(str(path))
        ) from None


def _blocks(stream: BinaryIO, file: str, block_bytes: int) -> Iterator[Block]:
    line = 1
    held = b""
    at_start = True
    while True:
        chunk = stream.read(block_bytes)
        if at_start:
            chunk = chunk.removeprefix(_BOM)
            at_start = False
        data = held + chunk
        cut = len(data) if not chunk else data.rfind(b"\n") + 1
        # Blank lines are held back until text follows: at the end of the file they mean nothing.
        body = data[:cut].rstrip(_BLANK)
        if body:
            newline = data.find(b"\n", len(body))
            cut = newline + 1 if newline >= 0 else len(data)
            whole = data[:cut] if newline >= 0 else data + b"\n"
            _check_text(whole, file, line)
            yield Block(whole, line, file)
            line += whole.count(b"\n")
            held = data[cut:]
        else:
            held = data
        if not chunk:
            return
        if len(held) > MAX_LINE_BYTES:
            raise InputError(
                f"a line is longer than {MAX_LINE_BYTES >> 20} MiB, expected a trace of text lines",
                location=Location(file, line),
            )


def _check_text(data: bytes, file: str, first_line: int) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        start = before.rfind(b"\n") + 1
        raise InputError(
            f"byte 0x{data[error.start]:02x} is not UTF-8 text",
            location=Location(
                file,
                first_line + before.count(b"\n"),
                len(before[start:].decode()) + 1,
                before[start:].decode(),
            ),
            hint="expected a text file in UTF-8",
        ) from None


def _missing(path: str | Path) -> InputError:
    folder = Path(path).parent
    if not folder.is_dir():
        return InputError(
            f"no trace '{path}': there is no directory '{folder}'", location=Location(str(path))
        )
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    close = nearest(Path(path).name, names)
    return InputError(
        f"no trace '{path}'",
        location=Location(str(path)),
        hint=did_you_mean(Path(path).name, [close]) if close else None,
    )
