"""The formats of ``failsafe export``: each takes rows as they come and keeps none."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Protocol

import click
import msgspec

from failsafe.telemetry.extracts import Column, Kind

if TYPE_CHECKING:
    import pyarrow as pa

Row = Sequence[Any]

_FORMULA = frozenset("=+-@\t\r＝＋－＠")  # noqa: RUF001 -- as spreadsheets take them
"""What makes a spreadsheet run a cell's text (owasp.org/www-community/attacks/CSV_Injection)."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but for the end of a line and the tabulator."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ROW_GROUP = 100_000


class Format(Protocol):
    """Writes rows in one format. Not thread-safe."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write *rows*."""

    def finish(self) -> None:
        """Write what comes after the last row; the file stays open."""

    def abandon(self) -> None:
        """Let go of the file, which is to be thrown away. Never raises an ``Exception``."""


def utc(at: float) -> str | None:
    """*at* as ISO 8601 in UTC, to the millisecond; None for what is no time."""
    try:
        text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
    return text.replace("+00:00", "Z")


_Conversions = Sequence[tuple[int, Callable[[Any], Any]]]
"""The places of the values that a format writes in its own way, and how it does."""


def _conversions(columns: Sequence[Column], by_kind: Mapping[Kind, Callable[[Any], Any]]) -> _Conversions:
    return [(place, by_kind[column.kind]) for place, column in enumerate(columns) if column.kind in by_kind]


def _converted(row: Row, conversions: _Conversions) -> list[Any]:
    values = list(row)
    for place, convert in conversions:
        if values[place] is not None:
            values[place] = convert(values[place])
    return values


class Csv:
    """
    RFC 4180 with a line of names; what is not known is an empty cell.

    Text that a spreadsheet would take for a formula begins with an apostrophe, as providers write some of it; control
    characters are blanks.
    """

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._cells = _conversions(columns, _CELLS)
        self._writer.writerow([column.name for column in columns])

    def write(self, rows: Sequence[Row]) -> None:
        """As :meth:`Format.write`."""
        self._writer.writerows([_converted(row, self._cells) for row in rows])

    def finish(self) -> None:
        """As :meth:`Format.finish`."""
        self._text.detach()

    def abandon(self) -> None:
        """As :meth:`Format.abandon`; else the file, which may be standard output, would be closed some time."""
        with suppress(OSError, ValueError):
            self._text.detach()


def harmless(text: str) -> str:
    """*text* as a cell that no spreadsheet runs, and no terminal."""
    shown = text if text.isprintable() else _CONTROLS.sub(" ", text)
    return f"'{shown}" if shown[:1] in _FORMULA else shown


_CELLS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.TIME: utc,
    Kind.TEXT: harmless,
    Kind.JSON: harmless,
    Kind.YES_NO: lambda value: "true" if value else "false",
    Kind.USD: lambda value: f"{value:f}",
}


class JsonLines:
    """An object a line; money is a number with all its decimals."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._file = file
        self._names = [column.name for column in columns]
        self._values = _conversions(columns, _JSON)

    def write(self, rows: Sequence[Row]) -> None:
        """As :meth:`Format.write`."""
        self._file.write(b"".join(line + b"\n" for line in self.encoded(rows)))

    def encoded(self, rows: Sequence[Row]) -> list[bytes]:
        """Each of *rows* as an object."""
        names, conversions = self._names, self._values
        return [_ENCODER.encode(dict(zip(names, _converted(row, conversions), strict=True))) for row in rows]

    def finish(self) -> None:
        """As :meth:`Format.finish`."""

    def abandon(self) -> None:
        """As :meth:`Format.abandon`."""


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


_JSON: Mapping[Kind, Callable[[Any], Any]] = {Kind.TIME: utc, Kind.JSON: _decoded}


class Json:
    """One array with an object a line."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._file = file
        self._lines = JsonLines(file, columns)
        self._before = b"[\n"

    def write(self, rows: Sequence[Row]) -> None:
        """As :meth:`Format.write`."""
        for line in self._lines.encoded(rows):
            self._file.write(self._before + line)
            self._before = b",\n"

    def finish(self) -> None:
        """As :meth:`Format.finish`."""
        self._file.write(b"\n]\n" if self._before == b",\n" else b"[]\n")

    def abandon(self) -> None:
        """As :meth:`Format.abandon`."""


class Parquet:
    """Columns of their own types: times in UTC, money as decimals."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise click.ClickException("Parquet needs pyarrow; pip install 'failsafe-llm[parquet]'") from None
        self._arrow = pa
        types = {
            Kind.TIME: pa.timestamp("us", tz="UTC"),
            Kind.TEXT: pa.string(),
            Kind.JSON: pa.string(),
            Kind.WHOLE: pa.int64(),
            Kind.NUMBER: pa.float64(),
            Kind.YES_NO: pa.bool_(),
            Kind.USD: pa.decimal128(38, 12),
        }
        self._columns = columns
        self._schema = pa.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    def write(self, rows: Sequence[Row]) -> None:
        """As :meth:`Format.write`."""
        arrays = [
            self._arrow.array(_numbers(column, values), type=field.type)
            for column, field, values in zip(self._columns, self._schema, zip(*rows, strict=True), strict=True)
        ]
        self._waiting.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._waiting:
            self._writer.write_table(self._arrow.Table.from_batches(self._waiting, self._schema))
            self._waiting.clear()

    def finish(self) -> None:
        """As :meth:`Format.finish`."""
        self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """As :meth:`Format.abandon`; else pyarrow would write into a closed file some time."""
        with suppress(Exception):
            self._writer.close()
        self._writer.is_open = False


def _numbers(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.kind is not Kind.TIME:
        return values
    return [None if value is None else round(value * 1e6) for value in values]


FORMATS: dict[str, Callable[[IO[bytes], Sequence[Column]], Format]] = {
    "csv": Csv,
    "json": Json,
    "jsonl": JsonLines,
    "parquet": Parquet,
}
"""By the name that ``--format`` takes, which is also the ending of a file's name."""
