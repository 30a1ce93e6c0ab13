-- The verifier: instance, keys at rest, users and their guards, devices, API keys,
-- the audit chains, statistics, idempotency.
-- PostgreSQL's dialect restricted to what SQLite shares; the migration runner maps
-- the column types. Times are Unix milliseconds. No index stands on a column that a
-- verification updates.

-- Single facts about this database: the instance id and the like.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Internal ids are handed out in blocks and never again.
CREATE TABLE id_blocks (
    kind TEXT PRIMARY KEY,
    next BIGINT NOT NULL
);

-- The versions of the master secret: check value, and since when one is active.
CREATE TABLE master_keys (
    version BIGINT PRIMARY KEY,
    check_value BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    active_at BIGINT
);

-- Keys of the server's own: the instance root, signing keys. Always sealed.
CREATE TABLE own_keys (
    id BIGINT PRIMARY KEY,
    purpose TEXT NOT NULL,
    key_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    public_key BYTEA,
    created_at BIGINT NOT NULL,
    active_at BIGINT,
    retired_at BIGINT
);

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- One row per user: locking it locks everything that can change a verdict.
CREATE TABLE guards (
    id BIGINT PRIMARY KEY,
    failures BIGINT NOT NULL,
    locked_until BIGINT,
    disabled_at BIGINT,
    days TEXT NOT NULL
);

-- What does not change with a verification. `shown` is the owner's name as the
-- client wrote it, a JSON string or number.
CREATE TABLE devices (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    shown TEXT NOT NULL,
    kind TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    digits BIGINT NOT NULL,
    period BIGINT NOT NULL,
    policy TEXT,
    label TEXT,
    issuer TEXT,
    test BIGINT NOT NULL,
    key_version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    pending_until BIGINT,
    deactivated_at BIGINT
);
CREATE INDEX devices_by_user ON devices (user_id, id);

-- What a verification changes: one narrow row.
CREATE TABLE device_hot (
    id BIGINT PRIMARY KEY,
    next BIGINT NOT NULL,
    used BIGINT NOT NULL,
    last_used BIGINT,
    drift_ms BIGINT NOT NULL,
    replayed BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash BYTEA NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- A chain is the life of one lane. The first link names the predecessor. A cut
-- prefix leaves its last link and a signature over it.
CREATE TABLE chains (
    id BIGINT PRIMARY KEY,
    name BYTEA NOT NULL UNIQUE,
    started_at BIGINT NOT NULL,
    before_name BYTEA,
    before_seq BIGINT,
    before_link BYTEA,
    first_link BYTEA NOT NULL,
    first_mac BYTEA NOT NULL,
    cut_seq BIGINT NOT NULL,
    cut_link BYTEA,
    cut_at BIGINT,
    cut_kid TEXT,
    cut_signature BYTEA,
    indexed_seq BIGINT NOT NULL
);

-- Where each chain stands: locked and written in every batch of its lane.
CREATE TABLE chain_heads (
    chain BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    link BYTEA NOT NULL,
    mac BYTEA NOT NULL,
    at BIGINT NOT NULL
);

-- id = chain × 2^40 + sequence number. `personal` is blanked by an erasure, which
-- leaves `personal_digest` in its place.
CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    success BIGINT NOT NULL,
    user_id BIGINT,
    device_id BIGINT,
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    personal TEXT,
    personal_digest BYTEA,
    salt BYTEA,
    link BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

-- What audit searches look up: keyed hashes of names and of rare actions. Filled by
-- a job, never in the commit of a verification.
CREATE TABLE event_terms (
    term BIGINT NOT NULL,
    at BIGINT NOT NULL,
    event BIGINT NOT NULL,
    PRIMARY KEY (term, at, event)
);

CREATE TABLE checkpoints (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- One row per hour and chain; a batch adds to one row.
CREATE TABLE stats (
    bucket BIGINT NOT NULL,
    chain BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    locked BIGINT NOT NULL,
    registered BIGINT NOT NULL,
    deactivated BIGINT NOT NULL,
    PRIMARY KEY (bucket, chain)
);

-- First answers by the keyed hash of caller, path and key.
CREATE TABLE idempotency (
    id BYTEA PRIMARY KEY,
    fingerprint BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    expires_at BIGINT NOT NULL
);
