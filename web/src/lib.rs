//! HTTP: routes, credentials, bodies, problem documents and the sockets. Knows no SQL and no rule of the product.
//!
//! | file | says |
//! |---|---|
//! | `routes` | the whole API, in one list |
//! | `api` | the handlers, one file per resource |
//! | `table`, `endpoint` | what a route is, and one request from its headers to its answer |
//! | `allowed` | the right to make a call |
//! | `input` | what a request says |
//! | `answer`, `refusal`, `problem` | what it is told |
//! | `schema`, `openapi`, `docs` | what is told about the API |
//! | `transport` | the sockets |

mod accept;
mod address;
mod allowed;
mod answer;
mod api;
mod body;
mod docs;
mod endpoint;
mod examples;
mod front;
mod input;
mod openapi;
mod problem;
mod qr;
mod refusal;
mod request_id;
mod routes;
mod schema;
mod security;
mod table;
pub mod transport;

pub use front::Settings;
pub use problem::{Problem, errors_markdown};
pub use routes::{openapi, router};

#[cfg(test)]
mod service_tests;
mod visitor;
