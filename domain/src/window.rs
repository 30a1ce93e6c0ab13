//! Which steps or counters of a device a code may belong to, and how drift is learnt.

use std::ops::RangeInclusive;

use otp::Totp;

use crate::device::{Device, Hot, Kind};
use crate::policy::{LONGEST_WINDOW_SECONDS, Policy};
use crate::time::Time;

/// Counters that are looked at beyond the next one (RFC 4226, 7.4).
const HOTP_LOOK_AHEAD: i64 = 10;
const HOTP_RESYNC_AHEAD: i64 = 100;
const TOTP_RESYNC_STEPS: i64 = 10;
/// How far back a helpdesk explanation looks: an hour of 30-second steps.
const EXPLAIN_BACK: i64 = 120;
/// Drift is an average over about this many acceptances, so that a person who types
/// slowly once does not move the window.
const DRIFT_MEMORY: i64 = 8;

/// The step of the server's time for this device, 0 before T0 and for counters.
pub(crate) fn current_step(device: &Device, now: Time) -> i64 {
    let Kind::Totp { period } = device.kind else {
        return 0;
    };
    Totp { period, t0: 0 }
        .step_at(now.seconds())
        .and_then(|step| i64::try_from(step).ok())
        .unwrap_or(0)
}

/// The step that the device's own clock is in, as far as its drift has been learnt.
pub(crate) fn device_step(device: &Device, now: Time) -> i64 {
    let drift = match device.kind {
        Kind::Totp { period } => whole_steps(&device.hot, period),
        Kind::Hotp => 0,
    };
    current_step(device, now) + drift
}

/// What a code is compared with: every step of it, whatever was spent. A spent one
/// is told from a wrong one afterwards, by [`Hot::next`].
pub(crate) fn acceptable(device: &Device, policy: &Policy, now: Time) -> RangeInclusive<u64> {
    match device.kind {
        Kind::Totp { period } => {
            let centre = device_step(device, now);
            // A device registered under a narrower window keeps to the longest life of
            // a code when the window is widened later.
            let widest = LONGEST_WINDOW_SECONDS / period.max(1);
            let width = i64::from(policy.window.min(widest));
            range(centre - width, centre + width)
        }
        // One before the next, so that a repetition of the last code is known as such.
        Kind::Hotp => range(device.hot.next - 1, device.hot.next + HOTP_LOOK_AHEAD),
    }
}

/// Where two codes in a row are looked for: the first one's place. For TOTP the second
/// lies within the bound too, so that the drift which follows from it can be kept.
pub(crate) fn resynchronisable(device: &Device, now: Time) -> RangeInclusive<u64> {
    match device.kind {
        Kind::Totp { .. } => {
            let centre = current_step(device, now);
            let low = (centre - TOTP_RESYNC_STEPS).max(device.hot.next);
            range(low, centre + TOTP_RESYNC_STEPS - 1)
        }
        Kind::Hotp => range(device.hot.next, device.hot.next + HOTP_RESYNC_AHEAD),
    }
}

/// Where a code that can no longer be accepted is looked for (`None` when nothing is past
/// yet), and where one is that still can be (empty when all of the window is spent).
pub(crate) fn explainable(
    device: &Device,
    policy: &Policy,
    now: Time,
) -> (Option<RangeInclusive<u64>>, RangeInclusive<u64>) {
    let open = acceptable(device, policy, now);
    let next = u64::try_from(device.hot.next).unwrap_or(0);
    let first_open = (*open.start()).max(next);
    let back = first_open.saturating_sub(EXPLAIN_BACK.unsigned_abs());
    let past = first_open.checked_sub(1).map(|last| back..=last);
    (past, first_open..=*open.end())
}

/// The drift after an acceptance `skew` steps away from the server's own step.
pub(crate) fn learn_drift(hot: &Hot, period: u32, skew: i64) -> i64 {
    let seen = skew.saturating_mul(period_ms(period));
    bounded(hot.drift_ms + (seen - hot.drift_ms) / DRIFT_MEMORY, period)
}

/// The drift that a resynchronisation sets at once.
pub(crate) fn set_drift(period: u32, skew: i64) -> i64 {
    bounded(skew.saturating_mul(period_ms(period)), period)
}

fn bounded(drift_ms: i64, period: u32) -> i64 {
    let most = TOTP_RESYNC_STEPS * period_ms(period);
    drift_ms.clamp(-most, most)
}

/// The learnt drift in whole steps, rounded half away from zero.
fn whole_steps(hot: &Hot, period: u32) -> i64 {
    let period = period_ms(period);
    (hot.drift_ms.abs() + period / 2) / period * hot.drift_ms.signum()
}

fn period_ms(period: u32) -> i64 {
    i64::from(period) * 1000
}

fn range(low: i64, high: i64) -> RangeInclusive<u64> {
    u64::try_from(low).unwrap_or(0)..=u64::try_from(high).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_code_moves_nothing_and_a_steady_drift_does() {
        fn check(skews: &[i64], shift: i64) {
            let mut hot = Hot::default();
            for skew in skews {
                hot.drift_ms = learn_drift(&hot, 30, *skew);
            }
            assert_eq!(whole_steps(&hot, 30), shift, "{skews:?}");
        }
        check(&[], 0);
        check(&[-1], 0);
        check(&[1, 1, 1], 0);
        check(&[1; 8], 1);
        check(&[-1; 8], -1);
        check(&[-1, 0, -1, 0, -1, 0, -1, 0, -1, 0], 0);
        check(&[2; 40], 2);
    }

    #[test]
    fn drift_never_exceeds_the_steps_of_a_resynchronisation() {
        let mut hot = Hot::default();
        for _ in 0..1000 {
            hot.drift_ms = learn_drift(&hot, 30, 1 << 40);
        }
        assert_eq!(hot.drift_ms, 300_000);
        assert_eq!(set_drift(30, i64::MIN), -300_000);
    }
}
