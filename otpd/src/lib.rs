//! The parts of the otpd program: settings, wiring, commands.

pub mod bench;
pub mod config;
