-- The other doors: accounts, sessions, challenges, recovery codes, the outbox, and
-- what their statistics need. Only additions, so that the release before goes on
-- working beside this one.

-- Through which door a device was made: NULL for the devices' own.
ALTER TABLE devices ADD COLUMN door TEXT;

-- Tries of recovery codes and passes have an hourly limit of their own.
ALTER TABLE guards ADD COLUMN recovery_from BIGINT;
ALTER TABLE guards ADD COLUMN recovery_tries BIGINT NOT NULL DEFAULT 0;

-- Who can log in with a password. `shown` is the name as it was given at signup.
CREATE TABLE accounts (
    user_id BIGINT PRIMARY KEY,
    shown TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- What somebody has to answer: an issued or emailed code, a pass, a login that waits
-- for its second factor, an enrolment. `hash` is keyed; NULL where nothing can be
-- right. `context` is a JSON object. The failures are those of a challenge with a
-- budget of its own.
CREATE TABLE challenges (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    hash BYTEA,
    context TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    uses_left BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    locked_until BIGINT,
    day BIGINT NOT NULL,
    day_failures BIGINT NOT NULL
);
CREATE INDEX challenges_by_user ON challenges (user_id, kind, id);
CREATE INDEX challenges_by_expiry ON challenges (expires_at);

-- One row a code. A set made with an enrolment waits for that device's confirmation.
CREATE TABLE recovery_codes (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    pending_for BIGINT,
    created_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id, id);

-- Sessions behind access tokens. `amr` is a space-separated list (RFC 8176).
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    amr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Mails on their way, sealed. `next_try` is moved on by whoever takes one.
CREATE TABLE outbox (
    id BIGINT PRIMARY KEY,
    user_id BIGINT,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    next_try BIGINT NOT NULL,
    tries BIGINT NOT NULL
);
CREATE INDEX outbox_by_next_try ON outbox (next_try, id);

-- Rarer counters than those of `stats`, by name; one row per hour, chain and name.
CREATE TABLE stat_counts (
    bucket BIGINT NOT NULL,
    chain BIGINT NOT NULL,
    name TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (bucket, chain, name)
);

-- Seconds from a code's sending to its acceptance, as a histogram.
CREATE TABLE stat_delays (
    bucket BIGINT NOT NULL,
    chain BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    count BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    PRIMARY KEY (bucket, chain, slot)
);
