//! What must never happen, tried from outside against the built binary: parallel attempts, kills, outages, tampering.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the test runner shows what a test measured"
)]

mod acceptance;
mod accounts;
mod audit_log;
mod canaries;
mod contract;
mod crash;
mod doors;
mod durability;
mod failover;
mod finished;
mod guesses;
mod harness;
mod hostile;
mod jobs;
mod lockout;
mod lossy;
mod mail;
mod network;
mod outage;
mod postgres_tls;
mod redis_race;
mod repetition;
mod revocation;
mod rolling;
mod shared_limits;
mod start;
mod two_nodes;
