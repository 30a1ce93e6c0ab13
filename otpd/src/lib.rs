//! The parts of the otpd program: settings, wiring, commands.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data_folder;
pub mod first_start;
pub mod logging;
pub mod picture;
pub mod runtime;
pub mod system;
pub mod threads;
pub mod wiring;
