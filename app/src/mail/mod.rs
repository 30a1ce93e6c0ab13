//! Mail: what a letter says, how it leaves, and when another try is worth it.

mod letter;
mod outbox;
mod retry;
mod sealed;
mod settings;
mod transport;
mod worker;

#[cfg(test)]
mod tests;

pub use settings::{Login, MailSettings, Security, SmtpServer};
pub use transport::{Post, PostError};

pub(crate) use sealed::CodeMail;
pub(crate) use worker::Mailroom;
