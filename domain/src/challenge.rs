//! Challenges: what somebody has to answer once, such as an issued code or a login that waits.

use serde::{Deserialize, Serialize};

use crate::ids::{ChallengeId, UserId};
use crate::time::Time;

/// What a challenge is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeKind {
    /// A code that was issued to a sister service; one per user.
    Issued,
    /// A code that was sent by email; one per address, which is a user of its own.
    Emailed,
    /// A code of the helpdesk for someone who lost the phone.
    Pass,
    /// A login that has passed its password step and waits for the second factor.
    Login,
    /// The right to see and confirm one's own pending enrolment.
    Enrolment,
}

impl ChallengeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Issued,
        Self::Emailed,
        Self::Pass,
        Self::Login,
        Self::Enrolment,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Emailed => "emailed",
            Self::Pass => "pass",
            Self::Login => "login",
            Self::Enrolment => "enrolment",
        }
    }

    /// Reads [`ChallengeKind::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A challenge as the judge sees it. What would answer it is kept as a keyed hash only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Internal id.
    pub id: ChallengeId,
    /// Whose it is.
    pub user: UserId,
    /// What it is about.
    pub kind: ChallengeKind,
    /// Keyed hash of the right answer; `None` where nothing can be right.
    pub hash: Option<[u8; 32]>,
    /// When it was made, or its code replaced.
    pub created_at: Time,
    /// From then on nothing is right any more.
    pub expires_at: Time,
    /// How often it may still be answered.
    pub uses_left: u32,
    /// Wrong answers, where the challenge has a budget of its own; for an issued code
    /// the repetitions that were counted.
    pub failures: u32,
    /// The end of its own lock.
    pub locked_until: Option<Time>,
    /// The UTC day (days since 1970) that `day_failures` counts.
    pub day: i64,
    /// Wrong answers on that day.
    pub day_failures: u32,
}

impl Challenge {
    /// Whether a right answer would be accepted at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        self.uses_left > 0 && self.expires_at > now
    }
}

/// How a person has proved who they are, by the words of `amr` (RFC 8176 where it has one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A code of an authenticator.
    Otp,
    /// An issued code.
    Otc,
    /// An emailed code: never counted as a second factor.
    Email,
    /// A recovery code.
    Recovery,
    /// A pass of the helpdesk.
    Pass,
}

impl Method {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Otp => "otp",
            Self::Otc => "otc",
            Self::Email => "email",
            Self::Recovery => "recovery",
            Self::Pass => "pass",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_again_by_its_word() {
        for kind in ChallengeKind::ALL {
            assert_eq!(ChallengeKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(ChallengeKind::from_word("Login"), None);
    }

    #[test]
    fn a_challenge_lives_until_its_last_use_or_its_end() {
        fn check(uses_left: u32, now: i64, alive: bool) {
            let challenge = Challenge {
                id: ChallengeId(1),
                user: UserId(1),
                kind: ChallengeKind::Pass,
                hash: None,
                created_at: Time::from_millis(0),
                expires_at: Time::from_millis(1000),
                uses_left,
                failures: 0,
                locked_until: None,
                day: 0,
                day_failures: 0,
            };
            assert_eq!(challenge.is_live(Time::from_millis(now)), alive);
        }
        check(1, 999, true);
        check(1, 1000, false);
        check(0, 0, false);
    }
}
