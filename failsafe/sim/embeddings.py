"""
Embeddings of a fake provider: what is asked in either dialect, and vectors that are made of the texts.

Sources: openai/openai-openapi ``CreateEmbeddingRequest``; googleapis/python-genai ``google/genai/models.py``; the
vendors' references for what they refuse.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failsafe.catalog import catalog
from failsafe.faults import Fault
from failsafe.sim.dialect import Asked, names
from failsafe.sim.vendors import Complaint

_MOST_TEXTS = {"openai": 2048, "gemini": 100}
_FIELDS = names("model input dimensions encoding_format user")
_MISTRAL_FIELDS = names("model input output_dimension output_dtype encoding_format metadata")
_REFUSED_FIELDS = {"openai": _FIELDS, "azure": _FIELDS, "mistral": _MISTRAL_FIELDS}
_GEMINI_FIELDS = names("model content taskType title outputDimensionality")
_USUAL_LENGTH = 64  # of a model that nobody knows


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """
    What a request for embeddings asks for, whatever its dialect.

    Attributes:
        model: The model's id.
        texts: The texts.
        dimensions: How long the vectors are to be, or None.
        packed: Whether they are to come as base64.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None
    packed: bool


class Unacceptable(Exception):
    """The vendor would not take the request; ``complaint`` says why."""

    def __init__(self, complaint: Complaint) -> None:
        super().__init__(complaint.message)
        self.complaint = complaint


def vector(model: str, text: str, length: int) -> list[float]:
    """
    The vector of *text*: the same for the same model and text, whoever is asked, and of length one.

    A shorter one points where the beginning of a longer one does, and every number is a float32, as vendors have it.
    """
    seed = f"{model.rpartition('/')[2]}\n{text}".encode("utf-8", "replace")
    raw = struct.unpack(f"<{length}h", hashlib.shake_256(seed).digest(2 * length))
    norm = math.sqrt(sum(each * each for each in raw)) or 1.0
    return list(struct.unpack(f"<{length}f", struct.pack(f"<{length}f", *(each / norm for each in raw))))


def texts_of(dialect: str, asked: Asked) -> Texts:
    """
    What *asked* asks for.

    Raises:
        Unacceptable: The vendor would not take it.
    """
    if not isinstance(asked.body, dict):
        raise _unacceptable("body", "We could not parse the JSON body of your request.")
    wanted = _READERS[dialect](asked)
    most = _MOST_TEXTS[dialect]
    if not 1 <= len(wanted.texts) <= most:
        raise _unacceptable("input", f"at most {most} requests can be in one batch, and at least 1.")
    if not all(isinstance(each, str) and each for each in wanted.texts):
        raise _unacceptable("input", "'input' is invalid: every text must be a string that is not empty.")
    _check_length(wanted)
    return wanted


def _unacceptable(parameter: str, message: str, status: int | None = None) -> Unacceptable:
    return Unacceptable(Complaint(fault=Fault.BAD_REQUEST, parameter=parameter, message=message, status=status))


def _check_length(wanted: Texts) -> None:
    info = catalog().model(wanted.model)
    if wanted.dimensions is None:
        return
    if "dimensions" in info.refuses:
        raise _unacceptable("dimensions", "This model does not support specifying dimensions.")
    if not 1 <= wanted.dimensions <= (info.dimensions or 2**16):
        raise _unacceptable("dimensions", f"Invalid value for 'dimensions': at most {info.dimensions} for this model.")


def _of_openai(asked: Asked) -> Texts:
    body, vendor = asked.body, asked.vendor
    known = _REFUSED_FIELDS.get(vendor)
    unknown = "" if known is None else next((name for name in body if name not in known), "")
    if unknown:
        status = 422 if vendor == "mistral" else None
        raise _unacceptable(unknown, f"Unrecognized request argument supplied: {unknown}", status)
    if not (isinstance(body.get("model"), str) and body["model"]):
        raise _unacceptable("model", "you must provide a model parameter")
    given = body.get("input")
    return Texts(
        model=body["model"],
        texts=tuple(given) if isinstance(given, list) else (given,),
        dimensions=body.get("output_dimension" if vendor == "mistral" else "dimensions"),
        packed=body.get("encoding_format") == "base64",
    )


def _of_gemini(asked: Asked) -> Texts:
    requests = asked.body.get("requests") or []
    model = asked.route.model
    for each in requests:
        unknown = next((name for name in each if name not in _GEMINI_FIELDS), "")
        if unknown:
            raise Unacceptable(Complaint(fault=Fault.UNSUPPORTED_PARAMETER, parameter=unknown))
        if each.get("model") != f"models/{model}":
            raise _unacceptable("model", "* BatchEmbedContentsRequest.requests: model must be that of the batch.")
    texts = ["".join(part.get("text", "") for part in each["content"]["parts"]) for each in requests]
    length = requests[0].get("outputDimensionality") if requests else None
    return Texts(model=model, texts=tuple(texts), dimensions=length, packed=False)


_READERS: Mapping[str, Callable[[Asked], Texts]] = {"openai": _of_openai, "gemini": _of_gemini}


def embeddings(dialect: str, wanted: Texts) -> dict[str, Any]:
    """The body of the answer."""
    length = wanted.dimensions or catalog().model(wanted.model).dimensions or _USUAL_LENGTH
    vectors = [vector(wanted.model, text, length) for text in wanted.texts]
    return _WRITERS[dialect](wanted, vectors)


def _as_openai(wanted: Texts, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    tokens = sum((len(text) + 3) // 4 for text in wanted.texts)
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(each) if wanted.packed else each}
        for index, each in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": wanted.model, "usage": usage}


def _packed(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _as_gemini(wanted: Texts, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:  # noqa: ARG001 -- it tells no model
    return {"embeddings": [{"values": each} for each in vectors]}


_WRITERS: Mapping[str, Callable[[Texts, Sequence[Sequence[float]]], dict[str, Any]]] = {
    "openai": _as_openai,
    "gemini": _as_gemini,
}
