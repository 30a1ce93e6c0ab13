//! Random attempts and moves of the clock against a reference model that fits on a screen.

use proptest::prelude::*;

use super::*;
use crate::policy::Budget;

const BUDGET: Budget = Budget {
    lock_after: 3,
    disable_after: 9,
    disable_after_30_days: 1000,
};

#[derive(Clone, Copy, Debug)]
enum Move {
    /// The clock moves by so many seconds, back if negative.
    Clock(i64),
    /// A device's code of so many steps from now is typed.
    Type(usize, i64),
    /// A code is typed that no step near has.
    Guess(usize),
    /// Two codes in a row are typed, the first of so many steps from now.
    Pair(usize, i64),
    /// The helpdesk asks about the code of so many steps from now.
    Explain(usize, i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0_i64..45).prop_map(Move::Clock),
        1 => (-100_i64..0).prop_map(Move::Clock),
        1 => (60_i64..1000).prop_map(Move::Clock),
        8 => (0_usize..2, -3_i64..=3).prop_map(|(which, offset)| Move::Type(which, offset)),
        2 => (0_usize..2).prop_map(Move::Guess),
        1 => (0_usize..2, -12_i64..=11).prop_map(|(which, offset)| Move::Pair(which, offset)),
        1 => (0_usize..2, -6_i64..=2).prop_map(|(which, offset)| Move::Explain(which, offset)),
    ];
    prop::collection::vec(one, 0..80)
}

/// What is known of a device: the steps below `floor` are gone, those below `told` counted.
#[derive(Clone, Copy, Default)]
struct Known {
    floor: i64,
    told: i64,
    drift_ms: i64,
}

#[derive(Default)]
struct Model {
    devices: [Known; 2],
    failures: u32,
    locked_until: Option<Time>,
    disabled: bool,
}

impl Model {
    fn fail(&mut self, now: Time) {
        self.failures += 1;
        self.disabled |= self.failures >= BUDGET.disable_after;
        if let Some(beyond) = self.failures.checked_sub(BUDGET.lock_after) {
            let seconds = (30 * 2_i64.pow(beyond)).min(900);
            self.locked_until = Some(now.plus_seconds(seconds));
        }
    }

    fn locked(&self, now: Time) -> bool {
        self.disabled || self.locked_until.is_some_and(|until| now < until)
    }

    fn centre(&self, which: usize, now: Time) -> i64 {
        let periods = self.devices[which].drift_ms as f64 / 30_000.0;
        now.seconds() / PERIOD + periods.round() as i64
    }

    /// What a code must be told, given the highest step of the window that has it.
    fn verify(&mut self, which: usize, found: Option<i64>, now: Time) -> Verdict {
        let known = &mut self.devices[which];
        match found {
            Some(step) if step >= known.floor => {
                let skew = step - now.seconds() / PERIOD;
                known.floor = step + 1;
                known.drift_ms += (skew * 30_000 - known.drift_ms) / 8;
                (self.failures, self.locked_until) = (0, None);
                return Verdict::Accepted { skew };
            }
            Some(step) if step < known.told => {}
            Some(step) => {
                known.told = step + 1;
                self.fail(now);
            }
            None => self.fail(now),
        }
        Verdict::Rejected
    }

    /// What a pair must be told whose first code is that of step `first`.
    fn pair(&mut self, which: usize, first: i64, now: Time) -> Verdict {
        let known = &mut self.devices[which];
        let skew = first + 1 - now.seconds() / PERIOD;
        if first < known.floor || !(-9..=10).contains(&skew) {
            self.fail(now);
            return Verdict::Rejected;
        }
        known.floor = first + 2;
        known.drift_ms = skew * 30_000;
        Verdict::Resynchronised {
            drift_seconds: skew * 30,
        }
    }

    /// What the helpdesk must be told, given what `find` finds between two steps.
    fn explain(
        &mut self,
        which: usize,
        find: impl Fn(i64, i64) -> Option<i64>,
        now: Time,
    ) -> Finding {
        let centre = self.centre(which, now);
        let floor = self.devices[which].floor;
        let open = floor.max(centre - 1);
        match find(open - 120, open - 1) {
            Some(past) if find(open, centre + 1).is_none() => {
                if past + 1 == floor || past >= centre - 1 {
                    Finding::AlreadyUsed
                } else {
                    Finding::ValidStepsAgo(centre - past)
                }
            }
            _ => {
                self.fail(now);
                Finding::NotPast
            }
        }
    }

    /// What must be told to that question; `first` is the step that its first code is of.
    fn expect(&mut self, case: &Case, which: usize, ask: Ask, first: i64) -> Verdict {
        let now = case.now;
        let find = |typed: Typed, low: i64, high: i64| {
            let Typed::Text(code) = typed else {
                return None;
            };
            let has = |step: &i64| case.code(which, *step).equals(&code);
            (low..=high).rev().find(has)
        };
        if self.locked(now) {
            return Verdict::Locked;
        }
        match ask {
            Ask::Verify(typed) | Ask::Confirm(typed) => {
                let centre = self.centre(which, now);
                self.verify(which, find(typed, centre - 1, centre + 1), now)
            }
            Ask::Resynchronise(..) => self.pair(which, first, now),
            Ask::Explain(typed) => {
                let find = |low, high| find(typed, low, high);
                Verdict::Explained(self.explain(which, find, now))
            }
            _ => unreachable!("the moves ask devices only"),
        }
    }
}

/// The question that a move asks, of which device, and the step of its first code; `None`
/// when it only moved the clock.
fn question(case: &mut Case, one: Move) -> Option<(usize, Ask, i64)> {
    let step = case.step();
    let text = |which, offset| Typed::Text(case.code(which, step + offset));
    Some(match one {
        Move::Clock(seconds) => {
            case.pass(seconds);
            return None;
        }
        Move::Type(which, offset) => (which, Ask::Verify(text(which, offset)), step + offset),
        Move::Guess(which) => (which, Ask::Verify(Typed::Text(case.wrong(which))), step),
        Move::Pair(which, offset) => {
            let ask = Ask::Resynchronise(text(which, offset), text(which, offset + 1));
            (which, ask, step + offset)
        }
        Move::Explain(which, offset) => (which, Ask::Explain(text(which, offset)), step + offset),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_judge_does_what_the_model_does(moves in moves()) {
        let mut case = Case::new([totp(1), totp(2)]);
        case.policies.default.budget = BUDGET;
        let mut model = Model::default();
        for one in moves {
            let Some((which, ask, first)) = question(&mut case, one) else {
                continue;
            };
            let opened = case.opened();
            let expected = model.expect(&case, which, ask, first);
            let told = case.ask(which, ask).verdict;
            prop_assert_eq!(&told, &expected, "{:?}", one);
            prop_assert_eq!(case.opened() - opened, usize::from(told != Verdict::Locked));
            prop_assert_eq!(case.failures(), model.failures, "{:?}", one);
            let guard = &case.user.guard;
            prop_assert_eq!(guard.locked_until, model.locked_until, "{:?}", one);
            prop_assert_eq!(guard.disabled_at.is_some(), model.disabled);
            for which in 0..2 {
                prop_assert_eq!(case.hot(which).next, model.devices[which].floor);
                prop_assert_eq!(case.hot(which).drift_ms, model.devices[which].drift_ms);
            }
        }
    }

    /// The two rules that matter most, without any model of how they are kept.
    #[test]
    fn no_step_is_accepted_twice_and_guesses_stay_within_the_budget(moves in moves()) {
        let mut case = Case::new([totp(1), totp(2)]);
        case.policies.default.budget = BUDGET;
        let mut last = [i64::MIN; 2];
        let mut guesses = 0;
        for one in moves {
            let Some((which, ask, _)) = question(&mut case, one) else {
                continue;
            };
            let (opened, guard) = (case.opened(), case.user.guard.clone());
            case.user.guard_changed = false;
            let told = case.ask(which, ask).verdict;
            prop_assert_eq!(case.user.guard_changed, case.user.guard != guard);
            match told {
                Verdict::Accepted { skew } => {
                    let step = case.step() + skew;
                    prop_assert!(step > last[which], "{} after {}", step, last[which]);
                    last[which] = step;
                    guesses = 0;
                }
                // A spent code that is typed once more tells and costs nothing.
                Verdict::Rejected if !case.user.guard_changed => {}
                Verdict::Rejected | Verdict::Explained(Finding::NotPast) => guesses += 1,
                Verdict::Locked => prop_assert_eq!(case.opened(), opened),
                _ => {}
            }
            prop_assert!(guesses <= BUDGET.disable_after, "{} guesses", guesses);
        }
    }
}
