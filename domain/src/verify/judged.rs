//! One authenticator under judgement: whether a code is its own, and what accepting one changes.

use otp::{Code, Secret, highest_match};

use super::Judged;
use crate::device::{Device, Kind};
use crate::policy::Policy;
use crate::time::Time;
use crate::window;

/// What a code is to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The code of that step or counter, which may still be accepted.
    Fresh(i64),
    /// The code of a step or counter that is spent.
    Spent(i64),
    /// None of its codes.
    Nothing,
}

impl Judged {
    /// A device as it was read.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            hot_changed: false,
            state_changed: false,
        }
    }

    /// Compares the code with every step of the window; the highest match counts.
    pub(super) fn compare(&self, key: &Secret, code: &Code, policy: &Policy, now: Time) -> Found {
        let steps = window::acceptable(&self.device, policy, now);
        let found = highest_match(key, self.device.algorithm, code, steps)
            .and_then(|step| i64::try_from(step).ok());
        match found {
            Some(step) if step >= self.device.hot.next => Found::Fresh(step),
            Some(step) => Found::Spent(step),
            None => Found::Nothing,
        }
    }

    /// Burns the step and everything up to it: accepted steps only increase. Returns
    /// how far it is from the server's own step.
    pub(super) fn spend(&mut self, step: i64, now: Time) -> i64 {
        let device = &mut self.device;
        let mut skew = 0;
        if let Kind::Totp { period } = device.kind {
            skew = step - window::current_step(device, now);
            device.hot.drift_ms = window::learn_drift(&device.hot, period, skew);
        }
        device.hot.next = step + 1;
        self.hot_changed = true;
        skew
    }

    /// Counts an acceptance.
    pub(super) fn count_use(&mut self, now: Time) {
        self.device.hot.used += 1;
        self.device.hot.last_used = Some(now);
    }

    /// A spent code came again: people press the button twice, so one step costs one
    /// failure at most. True when it has to be counted.
    pub(super) fn repeat(&mut self, step: i64) -> bool {
        let counts = self.device.hot.replayed <= step;
        if counts {
            self.device.hot.replayed = step + 1;
            self.hot_changed = true;
        }
        counts
    }
}
