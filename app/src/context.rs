//! What every operation is told about the request it serves.

use std::sync::Arc;

use domain::Origin;

use crate::caller::Caller;
use crate::idempotency::Repeatable;

/// Who asks, from where, and whether the request may be a repetition.
#[derive(Clone, Debug)]
pub struct Context {
    /// The credential.
    pub caller: Arc<Caller>,
    /// The request's id.
    pub request_id: Arc<str>,
    /// The client's address, as far as it is believed.
    pub ip_address: Option<Arc<str>>,
    /// What the client calls itself, cut to 256 characters.
    pub user_agent: Option<Arc<str>>,
    /// Somebody who is not believed passed the request on: others may come from the same
    /// address.
    pub relayed: bool,
    /// Present when the request carries an `Idempotency-Key`.
    pub repeatable: Option<Repeatable>,
}

impl Context {
    /// A context without a network: the command line, a job.
    pub fn local(caller: Caller) -> Self {
        Self {
            caller: Arc::new(caller),
            request_id: "".into(),
            ip_address: None,
            user_agent: None,
            relayed: false,
            repeatable: None,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            caller: self.caller.name(),
            request_id: Arc::clone(&self.request_id),
            ip_address: self.ip_address.clone(),
            user_agent: self.user_agent.clone(),
        }
    }
}
