"""Images in a chat message: the two forms they come in, and telling them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from failsafe.encoding import refuse

_DATA_URL = re.compile(r"data:(image/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII | re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^\s/]", re.ASCII | re.IGNORECASE)
_MISNAMED = {"image/jpg": "image/jpeg"}


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """
    One image of a message.

    Attributes:
        kind: ``url`` for an address the provider fetches, ``data`` for the bytes themselves.
        url: The address, or the whole ``data:`` URL, as given.
        media_type: ``image/png`` and the like; "" for ``url``.
        start: Where the base64 text begins in ``url``.
    """

    kind: Literal["url", "data"]
    url: str
    media_type: str = ""
    start: int = 0

    @property
    def data(self) -> str:
        """The base64 text of a ``data`` image; copied out of the URL on each access."""
        return self.url[self.start :]


def read_image(part: Mapping[str, Any], place: str) -> Image:
    """
    Read a content part ``{"type": "image_url", "image_url": {"url": ...}}``.

    Args:
        part: The content part; a bare text in ``image_url`` is taken for the address.
        place: Its name in the request (``messages[0].content[1]``), for the error.

    Raises:
        InvalidRequest: The address is neither ``http(s)://`` nor a base64 ``data:image/...`` URL.
    """
    holder = part.get("image_url")
    url = holder.get("url") if isinstance(holder, Mapping) else holder
    where = f"{place}.image_url.url" if isinstance(holder, Mapping) else f"{place}.image_url"
    if not isinstance(url, str):
        refuse(where, url, "an https:// address or a data:image/png;base64,... URL is needed")
    if _WEB_URL.match(url):
        return Image(kind="url", url=url)
    head = _DATA_URL.match(url)
    if head is None or head.end() == len(url):
        refuse(where, url, "an https:// address or a data:image/png;base64,... URL is needed")
    media_type = head[1].lower()
    return Image(kind="data", url=url, media_type=_MISNAMED.get(media_type, media_type), start=head.end())
