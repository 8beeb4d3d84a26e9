"""
Fake providers: real servers on loopback that speak the dialects and fail on demand.

::

    from failsafe.sim import BEHAVIOURS, FakeProvider

    with FakeProvider("openai") as provider:
        provider.behave(BEHAVIOURS["rate-limit"])
        ...  # point a client at provider.base_url, with provider.key

See ``docs/sim.md``.
"""

from failsafe.sim.answers import (
    EmptyMessage,
    Error,
    ErrorIn200,
    GzipBomb,
    HalfJson,
    Healthy,
    HugeBody,
    NoChoices,
    Page,
    Redirect,
    Reply,
    Verbatim,
)
from failsafe.sim.behaviour import HEALTHY, Behaviour, StreamShape
from failsafe.sim.cloud import FakeCloud
from failsafe.sim.deliveries import (
    BlankLines,
    BreakTls,
    Chunked,
    Close,
    CutBody,
    Delivery,
    DripBody,
    DripHeaders,
    EndlessBody,
    Gzipped,
    Hang,
    NeverRead,
    RefuseConnections,
    Reset,
    StallBody,
    Whole,
)
from failsafe.sim.provider import FakeProvider
from failsafe.sim.record import ReceivedRequest
from failsafe.sim.scenarios import BEHAVIOURS, SUMMARIES, behaviour_named
from failsafe.sim.vendors import VENDORS

__all__ = [
    "BEHAVIOURS",
    "Behaviour",
    "BlankLines",
    "BreakTls",
    "Chunked",
    "Close",
    "CutBody",
    "Delivery",
    "DripBody",
    "DripHeaders",
    "EmptyMessage",
    "EndlessBody",
    "Error",
    "ErrorIn200",
    "FakeCloud",
    "FakeProvider",
    "GzipBomb",
    "Gzipped",
    "HEALTHY",
    "HalfJson",
    "Hang",
    "Healthy",
    "HugeBody",
    "NeverRead",
    "NoChoices",
    "Page",
    "ReceivedRequest",
    "Redirect",
    "RefuseConnections",
    "Reply",
    "Reset",
    "SUMMARIES",
    "StallBody",
    "StreamShape",
    "VENDORS",
    "Verbatim",
    "Whole",
    "behaviour_named",
]
