-- The schema of otpd as SQLite has it. Generated from store/migrations by
-- `cargo xtask generate`; do not edit.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE id_blocks (
    kind TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE master_keys (
    version INTEGER PRIMARY KEY,
    check_value BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    active_at INTEGER
) STRICT;
CREATE TABLE own_keys (
    id INTEGER PRIMARY KEY,
    purpose TEXT NOT NULL,
    key_version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    public_key BLOB,
    created_at INTEGER NOT NULL,
    active_at INTEGER,
    retired_at INTEGER
) STRICT;
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE guards (
    id INTEGER PRIMARY KEY,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    disabled_at INTEGER,
    days TEXT NOT NULL
) STRICT;
CREATE TABLE devices (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    shown TEXT NOT NULL,
    kind TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    digits INTEGER NOT NULL,
    period INTEGER NOT NULL,
    policy TEXT,
    label TEXT,
    issuer TEXT,
    test INTEGER NOT NULL,
    key_version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    pending_until INTEGER,
    deactivated_at INTEGER
) STRICT;
CREATE INDEX devices_by_user ON devices (user_id, id);
CREATE TABLE device_hot (
    id INTEGER PRIMARY KEY,
    next INTEGER NOT NULL,
    used INTEGER NOT NULL,
    last_used INTEGER,
    drift_ms INTEGER NOT NULL,
    replayed INTEGER NOT NULL
) STRICT;
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE chains (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    started_at INTEGER NOT NULL,
    before_name BLOB,
    before_seq INTEGER,
    before_link BLOB,
    first_link BLOB NOT NULL,
    first_mac BLOB NOT NULL,
    cut_seq INTEGER NOT NULL,
    cut_link BLOB,
    cut_at INTEGER,
    cut_kid TEXT,
    cut_signature BLOB,
    indexed_seq INTEGER NOT NULL
) STRICT;
CREATE TABLE chain_heads (
    chain INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    link BLOB NOT NULL,
    mac BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    success INTEGER NOT NULL,
    user_id INTEGER,
    device_id INTEGER,
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL,
    personal TEXT,
    personal_digest BLOB,
    salt BLOB,
    link BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE TABLE event_terms (
    term INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (term, at, event)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE stats (
    bucket INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    locked INTEGER NOT NULL,
    registered INTEGER NOT NULL,
    deactivated INTEGER NOT NULL,
    PRIMARY KEY (bucket, chain)
) STRICT, WITHOUT ROWID;
CREATE TABLE idempotency (
    id BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE devices ADD COLUMN door TEXT;
ALTER TABLE guards ADD COLUMN recovery_from INTEGER;
ALTER TABLE guards ADD COLUMN recovery_tries INTEGER NOT NULL DEFAULT 0;
CREATE TABLE accounts (
    user_id INTEGER PRIMARY KEY,
    shown TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE challenges (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    hash BLOB,
    context TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    uses_left INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    day INTEGER NOT NULL,
    day_failures INTEGER NOT NULL
) STRICT;
CREATE INDEX challenges_by_user ON challenges (user_id, kind, id);
CREATE INDEX challenges_by_expiry ON challenges (expires_at);
CREATE TABLE recovery_codes (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    pending_for INTEGER,
    created_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id, id);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    amr TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    user_id INTEGER,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    next_try INTEGER NOT NULL,
    tries INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_next_try ON outbox (next_try, id);
CREATE TABLE stat_counts (
    bucket INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (bucket, chain, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE stat_delays (
    bucket INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    count INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (bucket, chain, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE idempotency ADD COLUMN user_id INTEGER;
CREATE INDEX idempotency_by_user ON idempotency (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
CREATE INDEX devices_by_end_of_wait ON devices (pending_until) WHERE pending_until IS NOT NULL;
