//! What a service may know of a user's second factor.

use domain::{ChallengeKind, Method, Time, UserId, UserName};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{App, Error};

/// Passes that are looked at, newest first.
const PASSES: i64 = 50;

/// A user's second factor.
#[derive(Serialize)]
pub struct TwoFactor {
    /// The user as the client wrote it.
    pub user_id: Box<RawValue>,
    /// An authenticator is in force.
    pub enabled: bool,
    /// What would be accepted: `otp`, `recovery`, `pass`.
    pub methods: Vec<&'static str>,
    /// When a code of an authenticator in force was last accepted.
    pub last_verified_at: Option<String>,
    /// Recovery codes that can still be used: none while no authenticator is in force.
    pub recovery_codes_left: i64,
}

impl App {
    /// The second factor of a user. One whom nobody knows here has none: a service asks
    /// about its own users.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn two_factor(&self, user: &UserName, shown: &RawValue) -> Result<TwoFactor, Error> {
        let mut found = TwoFactor {
            user_id: shown.to_owned(),
            enabled: false,
            methods: Vec::new(),
            last_verified_at: None,
            recovery_codes_left: 0,
        };
        let Some(id) = self.store.user_by_name(user).await? else {
            return Ok(found);
        };
        let (devices, last_used) = self.store.devices_in_force(id).await?;
        found.enabled = devices > 0;
        found.last_verified_at = last_used.map(Time::to_rfc3339);
        if found.enabled {
            found.recovery_codes_left = self.store.recovery_codes_left(id).await?;
        }
        let methods = [
            (Method::Otp, found.enabled),
            (Method::Recovery, found.recovery_codes_left > 0),
            (Method::Pass, self.has_pass(id).await?),
        ];
        let there = methods.into_iter().filter(|(_, there)| *there);
        found.methods = there.map(|(method, _)| method.as_str()).collect();
        Ok(found)
    }

    async fn has_pass(&self, user: UserId) -> Result<bool, Error> {
        let now = self.store.now().await?;
        let passes = self.store.challenges_of(user, ChallengeKind::Pass, PASSES);
        let passes = passes.await?;
        Ok(passes.iter().any(|pass| pass.challenge.is_live(now)))
    }
}
