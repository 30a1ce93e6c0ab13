//! web

pub mod transport;
