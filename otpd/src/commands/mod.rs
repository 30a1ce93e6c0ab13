//! The commands, one file each.

pub mod audit;
pub mod doctor;
pub mod keys;
pub mod migrate;
pub mod root;
pub mod secret;
pub mod serve;
