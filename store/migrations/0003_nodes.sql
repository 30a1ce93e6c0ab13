-- Servers at work on this database: each writes its row every few seconds. Nothing but the
-- share of a limit that a server may give away by itself hangs on it.
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
