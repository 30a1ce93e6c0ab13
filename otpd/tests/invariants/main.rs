//! What must never happen, tried from outside against the built binary: parallel attempts, kills, outages, tampering.

mod acceptance;
mod audit_log;
mod canaries;
mod contract;
mod crash;
mod durability;
mod guesses;
mod harness;
mod hostile;
mod lockout;
mod outage;
mod revocation;
mod start;
