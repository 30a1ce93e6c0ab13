//! The handlers, one file per resource, each with what it reads and the shapes of its answers.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod devices;
pub(crate) mod email_codes;
pub(crate) mod health;
pub(crate) mod issued;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod mfa;
pub(crate) mod passes;
pub(crate) mod people;
pub(crate) mod recovery;
mod registration;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod two_factor;
pub(crate) mod user_otp;
pub(crate) mod users;
pub(crate) mod verify;
