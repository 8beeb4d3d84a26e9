"""
The tables of the store.

Times are seconds since 1970-01-01 UTC. Costs are whole picodollars (1e-12 USD), which hold a price of up to six
decimals a million tokens exactly. A *target* is a provider at an address: two programs that call different servers
``openai`` do not mix.
"""

from __future__ import annotations

PICODOLLARS = 10**12
"""Of which a dollar has so many."""

ROLLUPS = (10, 60, 900, 86_400)
"""Seconds of the spans over which counts and latencies are kept: tables ``rollup_10`` to ``rollup_86400``."""

_ROLLUP = """
CREATE TABLE rollup_{width} (
    at INTEGER NOT NULL,                  -- begin of the span, a multiple of its width
    target INTEGER NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0,  -- answers, of calls and probes
    failed INTEGER NOT NULL DEFAULT 0,    -- failures that speak against the provider
    excused INTEGER NOT NULL DEFAULT 0,   -- failures of keys, settings, quotas and this machine's network: nobody knows
    other INTEGER NOT NULL DEFAULT 0,     -- refusals by a provider that works: rate limits, wrong requests
    slow INTEGER NOT NULL DEFAULT 0,      -- of the answers, those above the provider's latency limit
    first INTEGER NOT NULL DEFAULT 0,     -- milliseconds from the begin of the span to the first outcome in it
    latency INTEGER NOT NULL DEFAULT 0,   -- sum of the answers' milliseconds
    histogram BLOB,                       -- the answers' latencies, see failsafe.telemetry.histogram
    streams BLOB,                         -- first content and tokens a second, see failsafe.telemetry.rollups
    PRIMARY KEY (at, target)
) WITHOUT ROWID
"""

VERSION_1 = (
    """
    CREATE TABLE targets (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        base_url TEXT NOT NULL,
        interval REAL NOT NULL DEFAULT 30,   -- seconds between two probes, as configured last
        latency_limit REAL,                  -- milliseconds, as configured last
        sla REAL,                            -- per cent, as configured last
        UNIQUE (name, base_url)
    )
    """,
    """
    CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)
    """,
    """
    CREATE TABLE processes (
        id INTEGER PRIMARY KEY,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        program TEXT NOT NULL,               -- the name of the program, without its arguments
        version TEXT NOT NULL,               -- of failsafe
        started_at REAL NOT NULL,
        seen_at REAL NOT NULL,               -- renewed every few seconds while it lives
        ended_at REAL,                       -- when it said that it ends
        dropped INTEGER NOT NULL DEFAULT 0   -- events that it could not write
    )
    """,
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,                    -- when it ended
        target INTEGER NOT NULL,
        model INTEGER NOT NULL,
        process INTEGER NOT NULL,
        call TEXT NOT NULL,
        latency REAL NOT NULL,               -- milliseconds
        first_content REAL,                  -- milliseconds
        fault TEXT,
        status INTEGER,
        phase TEXT NOT NULL,
        key TEXT NOT NULL,                   -- fingerprint
        round INTEGER NOT NULL,
        flags INTEGER NOT NULL,              -- 1 a hedge, 2 maybe billed, 4 blamed on the provider
        received INTEGER NOT NULL,           -- bytes of the body
        prompt INTEGER, cached INTEGER, written INTEGER, completion INTEGER, reasoning INTEGER,  -- tokens
        cost INTEGER,                        -- picodollars; NULL: not known
        request_id TEXT,
        message TEXT                         -- masked; of failures only
    )
    """,
    "CREATE INDEX attempts_of_target ON attempts (target, at)",
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        process INTEGER NOT NULL,
        call TEXT NOT NULL,
        asked TEXT NOT NULL,                 -- the model or alias
        target INTEGER,                      -- who answered
        model INTEGER,
        error TEXT,
        attempts INTEGER NOT NULL,
        latency REAL NOT NULL,
        tag TEXT NOT NULL,
        maybe_billed INTEGER NOT NULL
    )
    """,
    "CREATE INDEX calls_by_time ON calls (at)",
    """
    CREATE TABLE probes (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        target INTEGER NOT NULL,
        process INTEGER NOT NULL,
        kind TEXT NOT NULL,
        fault TEXT,
        status INTEGER,
        latency REAL NOT NULL,
        flags INTEGER NOT NULL,              -- 4 blamed on the provider, 8 counted by the breaker
        message TEXT
    )
    """,
    "CREATE INDEX probes_of_target ON probes (target, at)",
    """
    CREATE TABLE events (                    -- everything rare: transitions, put-offs, statuses, alerts, commands, ...
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        process INTEGER NOT NULL,
        target INTEGER,
        kind TEXT NOT NULL,                  -- the event's class name
        data TEXT NOT NULL                   -- the event as JSON
    )
    """,
    "CREATE INDEX events_by_time ON events (at)",
    """
    CREATE TABLE breakers (                  -- as each process sees them
        process INTEGER NOT NULL,
        router INTEGER NOT NULL,             -- a number within the process
        name TEXT NOT NULL,
        target INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        changed_at REAL NOT NULL,
        retry_at REAL,                       -- when the next probe may be admitted
        streak INTEGER NOT NULL,
        threshold INTEGER,
        opened INTEGER NOT NULL,             -- how often it has opened
        seen_at REAL NOT NULL,
        PRIMARY KEY (process, router, name)
    ) WITHOUT ROWID
    """,
    *(_ROLLUP.format(width=width) for width in ROLLUPS),
    """
    CREATE TABLE faults (                    -- how often each fault came up, by quarter of an hour
        at INTEGER NOT NULL,
        target INTEGER NOT NULL,
        fault TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (at, target, fault)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE spans (                     -- how a provider was, settled up to uptime.horizon
        target INTEGER NOT NULL,
        began REAL NOT NULL,
        ended REAL NOT NULL,
        state TEXT NOT NULL,                 -- up, degraded, down; what no span covers is unknown
        PRIMARY KEY (target, began)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE uptime (                    -- how far the spans of a target are settled, and what is needed to go on
        target INTEGER PRIMARY KEY,
        horizon REAL NOT NULL,
        pending TEXT NOT NULL                -- JSON
    )
    """,
    """
    CREATE TABLE watch (                     -- times in which a target was not watched as usual; offline is of all
        id INTEGER PRIMARY KEY,
        target INTEGER,
        state TEXT NOT NULL,                 -- paused, maintenance, offline (this machine's network was down)
        began REAL NOT NULL,
        ended REAL,
        note TEXT NOT NULL DEFAULT ''
    )
    """,
    """
    CREATE TABLE costs (
        day TEXT NOT NULL,                   -- UTC, 2026-11-24
        target INTEGER NOT NULL,
        model INTEGER NOT NULL,
        tag TEXT NOT NULL,
        answers INTEGER NOT NULL DEFAULT 0,
        prompt INTEGER NOT NULL DEFAULT 0,
        cached INTEGER NOT NULL DEFAULT 0,
        written INTEGER NOT NULL DEFAULT 0,
        completion INTEGER NOT NULL DEFAULT 0,
        reasoning INTEGER NOT NULL DEFAULT 0,
        cost INTEGER NOT NULL DEFAULT 0,     -- picodollars, of the answers whose price is known
        unpriced INTEGER NOT NULL DEFAULT 0, -- answers whose price is not known
        duplicates INTEGER NOT NULL DEFAULT 0,  -- failed attempts that may have been billed
        PRIMARY KEY (day, target, model, tag)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        process INTEGER NOT NULL,
        target INTEGER,
        rule TEXT NOT NULL,
        severity TEXT NOT NULL,
        title TEXT NOT NULL,
        message TEXT NOT NULL,
        resolves INTEGER NOT NULL,
        acknowledged_at REAL,
        acknowledged_by TEXT
    )
    """,
    """
    CREATE TABLE leases (name TEXT PRIMARY KEY, holder INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID
    """,
    """
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        until REAL NOT NULL,                 -- nobody carries it out later
        process INTEGER,                     -- NULL: every process
        target TEXT NOT NULL,                -- the provider's name
        base_url TEXT,                       -- NULL: wherever it is
        action TEXT NOT NULL,                -- reset, force_open, disable, drain, resume
        origin TEXT NOT NULL                 -- user@machine, program and process
    )
    """,
    """
    CREATE TABLE outcomes (                  -- what a process made of a command
        command INTEGER NOT NULL,
        process INTEGER NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        PRIMARY KEY (command, process)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE texts (                     -- only where StoreConfig.texts is on
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        process INTEGER NOT NULL,
        call TEXT NOT NULL,
        prompt TEXT NOT NULL,                -- the messages as JSON
        answer TEXT
    )
    """,
)
"""The statements that make version 1."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (VERSION_1,)
"""The statements that lead from each version (``PRAGMA user_version``) to the next, from 0."""

VERSION = len(MIGRATIONS)
"""The version that this program reads and writes."""
