//! The service: the real router over real storage, one file per resource.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod accounts_limits;
mod accounts_login;
mod accounts_mfa;
mod accounts_qr;
mod accounts_signup;
mod accounts_steps;
mod addresses;
mod answer;
mod answers;
mod assertions;
mod audit;
mod auth;
mod call;
mod clients;
mod contract;
mod database;
mod described;
mod device;
mod documents;
mod email_codes;
mod email_limits;
mod enrolment_races;
mod explain;
mod harness;
mod idempotency;
mod issued;
mod jwt_callers;
mod keys;
mod locks;
mod mailbox;
mod metrics;
mod oracle;
mod otp_user;
mod outbox;
mod passes;
mod pending;
mod people;
mod process;
mod recovery;
mod register;
mod register_faults;
mod restarts;
mod resync;
mod revived;
mod revoked_factors;
mod root_login;
mod scopes;
mod slow;
mod stats;
mod two_factor;
mod unlock;
mod verify;

/// Runs each function of the file on both engines. What needs a clock that is set runs
/// on SQLite alone, as a plain test: on PostgreSQL the database's clock decides.
macro_rules! on_both_engines {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::database::Engine::Sqlite).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::database::Engine::Postgres).await;
            })+
        }
    };
}
use on_both_engines;
