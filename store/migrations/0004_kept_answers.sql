-- Whom a kept answer of a management call is about: it goes when that user is erased. None
-- for answers about nobody, those of a release that did not say, and those to attempts,
-- which hold nothing of a person.
ALTER TABLE idempotency ADD COLUMN user_id BIGINT;
CREATE INDEX idempotency_by_user ON idempotency (user_id) WHERE user_id IS NOT NULL;
