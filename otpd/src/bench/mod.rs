//! The load driver behind `otpd bench`: it registers devices of its own over the public HTTP API, sends codes that must be accepted, and reports what came back.
//!
//! It knows the HTTP contract and the `otp` crate, nothing else of this program, so it measures any otpd
//! from outside, as a client sees it; only what fills a database for it works from inside. It never asks for a code twice: a verification is either an
//! acceptance or a fault to be counted, which makes every run a correctness test as well.

mod args;
mod bare;
mod baselines;
mod client;
mod clock;
mod devices;
mod filled;
mod measured;
mod plan;
mod postgres;
mod report;
mod request;
mod response;
mod rounds;
mod run;
mod tally;
mod verify;
mod workers;

#[cfg(test)]
mod compared;
#[cfg(test)]
mod rated;
#[cfg(test)]
mod stand_in;

pub use args::{ApiKey, BenchArgs, DatabaseUrl, Order};
pub use bare::{BareArgs, serve as serve_bare};
pub use filled::{FillArgs, Seed, fill};
pub use run::run;
