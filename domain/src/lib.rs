//! The words and rules of otpd as pure functions of values and a given time.
//!
//! Nothing here waits, reads a clock, draws a random number or knows a table, a
//! path or a status code. What a rule needs is an argument; what it decides is a
//! value. [`verify::attempt`] is the heart.

pub mod api_key;
pub mod chain;
pub mod challenge;
pub mod checkpoint;
pub mod device;
pub mod email;
pub mod email_level;
pub mod event;
pub mod guard;
pub mod ids;
pub mod names;
pub mod policy;
pub mod rate;
pub mod scope;
pub mod time;
pub mod verify;
mod window;

pub use challenge::{Challenge, ChallengeKind, Method};
pub use device::{Device, Hot, Kind, SealedKey, State};
pub use email::{DomainRules, EmailAddress, EmailError};
pub use email_level::{EmailLevel, EmailLevels};
pub use event::{Action, Event, Origin, Personal};
pub use guard::Guard;
pub use ids::{ChallengeId, DeviceId, UserId};
pub use names::{DeviceName, UserName};
pub use policy::{Budget, Policies, Policy};
pub use scope::{Scope, Scopes};
pub use time::Time;
pub use verify::{Ask, Attempt, Outcome, Subject, User, Verdict};
