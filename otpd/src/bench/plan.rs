//! The plan of a run: which device sends which step next, so that every code sent is one the server must accept.
//!
//! A server accepts one code per device and step, in increasing order of steps, from one step either side
//! of its own time (RFC 6238, section 5.2). So a device gives three acceptances at once (the step before,
//! the present one, the one after), then one more whenever 30 seconds have passed.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Length of a step in milliseconds: devices are registered with a period of 30 s.
pub(super) const STEP_MS: u64 = 30_000;

/// Steps that the server takes on either side of its own.
const WINDOW: u64 = 1;

/// How far the server's clock may stand behind our estimate, in milliseconds.
const EARLY_MS: u64 = 500;

/// How long after our estimate the server may judge the code, in milliseconds: the clock's error plus
/// the time a request may wait, which the contract ends with a 503 after two seconds.
const LATE_MS: u64 = 3_000;

/// A device's turn to verify: the device, and the step to send, which is also the highest it has ever sent.
#[derive(Debug)]
pub(super) struct Turn {
    /// Index into the worker's own devices.
    pub(super) device: u32,
    /// The TOTP step whose code is to be sent.
    pub(super) step: u64,
}

/// The devices that are free to verify, the one that waited longest in front.
///
/// A device that is taken stays out until it is given back, so no device ever has two codes in flight:
/// the server might judge them in the other order and rightly refuse the lower step.
#[derive(Debug)]
pub(super) struct Plan {
    free: VecDeque<Turn>,
}

impl Plan {
    /// A plan for devices `0..devices`, none of which has sent a code yet.
    pub(super) fn new(devices: u32) -> Self {
        let free = (0..devices)
            .map(|device| Turn { device, step: 0 })
            .collect();
        Self { free }
    }

    /// The next device and the lowest step it may still send at `now_ms` (server time in Unix
    /// milliseconds), or nothing when every free device has spent all it has.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Turn> {
        let usable = usable_steps(now_ms);
        // In round-robin order the front is the device with the lowest step; answers that overtook each
        // other can leave a later one behind it, hence the look at the rest before giving up.
        let at = self
            .free
            .iter()
            .position(|turn| turn.step < *usable.end())?;
        let mut turn = self.free.remove(at)?;
        turn.step = (turn.step + 1).max(*usable.start());
        Some(turn)
    }

    /// Puts a device back after its answer, whatever that was: a step that was sent counts as spent.
    pub(super) fn give_back(&mut self, turn: Turn) {
        self.free.push_back(turn);
    }
}

/// The steps which the server accepts for certain when it judges within the margins around `now_ms`.
fn usable_steps(now_ms: u64) -> RangeInclusive<u64> {
    let lowest = ((now_ms + LATE_MS) / STEP_MS).saturating_sub(WINDOW);
    let highest = now_ms.saturating_sub(EARLY_MS) / STEP_MS + WINDOW;
    lowest..=highest
}

/// How long to wait so that a run starts with all three steps of each device usable: nothing, or the few
/// seconds around a change of step.
pub(super) fn start_delay(now_ms: u64) -> Duration {
    let into_step = now_ms % STEP_MS;
    let wait = if into_step < EARLY_MS {
        EARLY_MS - into_step
    } else if into_step + LATE_MS >= STEP_MS {
        STEP_MS - into_step + EARLY_MS
    } else {
        0
    };
    Duration::from_millis(wait)
}

/// Devices that suffice for `rate` verifications per second over `seconds`, wherever in a step the run starts.
///
/// A device gives three acceptances and one more per step that passes; it may lose one of them, the oldest
/// step at the start, when the step changes before its first turn.
pub(super) fn devices_needed(rate: f64, seconds: u32) -> u64 {
    let acceptances_each = 2 + (u64::from(seconds) * 1_000 / STEP_MS).max(1);
    (rate * f64::from(seconds) / acceptances_each as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A moment 10 s into step 1 000 000.
    const T: u64 = 1_000_000 * STEP_MS + 10_000;

    fn drain(plan: &mut Plan, now_ms: u64) -> Vec<(u32, u64)> {
        let mut sent = Vec::new();
        while let Some(turn) = plan.take(now_ms) {
            sent.push((turn.device, turn.step - T / STEP_MS));
            plan.give_back(turn);
        }
        sent
    }

    #[test]
    fn devices_walk_round_robin_through_three_steps() {
        let mut plan = Plan::new(2);
        let early = T - STEP_MS;
        let mut sent = Vec::new();
        while let Some(turn) = plan.take(early) {
            sent.push((turn.device, turn.step + 1 - early / STEP_MS));
            plan.give_back(turn);
        }
        assert_eq!(sent, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
        assert_eq!(
            drain(&mut plan, T),
            [(0, 1), (1, 1)],
            "one more each after 30 s"
        );
        assert_eq!(drain(&mut plan, T), [], "then nothing");
    }

    #[test]
    fn usable_steps_keep_the_margins() {
        fn check(into_step: u64, lowest: i64, highest: i64) {
            let now = 1_000 * STEP_MS + into_step;
            assert_eq!(
                usable_steps(now),
                (1_000 + lowest) as u64..=(1_000 + highest) as u64,
                "{into_step}"
            );
        }
        check(0, -1, 0);
        check(EARLY_MS - 1, -1, 0);
        check(EARLY_MS, -1, 1);
        check(15_000, -1, 1);
        check(STEP_MS - LATE_MS - 1, -1, 1);
        check(STEP_MS - LATE_MS, 0, 1);
        check(STEP_MS - 1, 0, 1);
    }

    #[test]
    fn a_start_is_delayed_out_of_the_margins() {
        for into_step in 0..STEP_MS {
            let now = 1_000 * STEP_MS + into_step;
            let delay = u64::try_from(start_delay(now).as_millis()).unwrap();
            assert!(delay <= EARLY_MS + LATE_MS, "{into_step}");
            let usable = usable_steps(now + delay);
            assert_eq!(usable.end() - usable.start(), 2 * WINDOW, "{into_step}");
        }
    }

    #[test]
    fn a_device_in_flight_is_not_taken_again() {
        let mut plan = Plan::new(2);
        let first = plan.take(T).unwrap();
        for _ in 0..3 {
            let other = plan.take(T).unwrap();
            assert_ne!(other.device, first.device);
            plan.give_back(other);
        }
        assert!(plan.take(T).is_none());
    }

    #[test]
    fn a_device_behind_spent_ones_is_found() {
        let mut plan = Plan::new(2);
        let late = plan.take(T).unwrap();
        for _ in 0..3 {
            let other = plan.take(T).unwrap();
            plan.give_back(other);
        }
        plan.give_back(late);
        assert_eq!(drain(&mut plan, T), [(0, 0), (0, 1)]);
    }

    /// Plays a run at a constant rate and checks each step against a server which judges anywhere within
    /// the margins; returns how many verifications the devices gave.
    fn play(devices: u32, rate: f64, seconds: u32, start_ms: u64) -> u64 {
        let mut plan = Plan::new(devices);
        let mut spent: HashMap<u32, u64> = HashMap::new();
        let wanted = (rate * f64::from(seconds)) as u64;
        for n in 0..wanted {
            let now = start_ms + (n as f64 * 1_000.0 / rate) as u64;
            let Some(turn) = plan.take(now) else { return n };
            for server in [now - EARLY_MS, now, now + LATE_MS - 1] {
                assert!(
                    turn.step.abs_diff(server / STEP_MS) <= WINDOW,
                    "outside the window at {now}"
                );
            }
            if let Some(before) = spent.insert(turn.device, turn.step) {
                assert!(turn.step > before, "steps must strictly increase");
            }
            plan.give_back(turn);
        }
        wanted
    }

    #[test]
    fn the_devices_said_to_be_needed_do_suffice_from_any_start() {
        for seconds in [1, 10, 29, 45, 60, 125] {
            for into_step in (0..STEP_MS).step_by(1_700) {
                let now = 1_000 * STEP_MS + into_step;
                let start = now + u64::try_from(start_delay(now).as_millis()).unwrap();
                let devices = u32::try_from(devices_needed(90.0, seconds)).unwrap();
                let given = play(devices, 90.0, seconds, start);
                assert_eq!(
                    given,
                    90 * u64::from(seconds),
                    "{devices} devices, {seconds} s, start at {into_step}"
                );
            }
        }
    }

    #[test]
    fn too_few_devices_are_exhausted() {
        assert_eq!(play(100, 90.0, 10, T), 300);
        assert_eq!(devices_needed(90.0, 10), 300);
        assert_eq!(devices_needed(20_000.0, 10), 66_667);
    }
}
