-- What has come to an end is looked for all the time, and found without reading the rest.
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
CREATE INDEX devices_by_end_of_wait ON devices (pending_until) WHERE pending_until IS NOT NULL;
