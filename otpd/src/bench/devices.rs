//! The devices of a run: registered before it, deleted after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use otp::{Algorithm, Code, Digits, Secret};
use serde::Deserialize;

use super::args::Order;
use super::client::Connection;
use super::filled::{Seed, chosen};
use super::request::Requests;
use super::response::Response;
use super::tally::Problem;
use super::workers::{Signals, Worker};

/// How long one registration or deletion may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a request is made while the server says that it is busy.
const TRIES: u32 = 6;

/// Longest pause that a `Retry-After` can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A device that the server knows.
pub(super) struct Enrolled {
    /// Its number in this run.
    pub(super) number: u32,
    /// Its key.
    pub(super) secret: Secret,
}

impl Enrolled {
    /// The code of a step.
    pub(super) fn code(&self, step: u64) -> Code {
        otp::hotp(&self.secret, Algorithm::Sha1, Digits::default(), step)
    }

    /// Whether this step's code may have been spent with an earlier one, sent before: of two
    /// steps in the server's window with the same code it takes the later one, and everything
    /// before is over then. It happens to one code in a million.
    pub(super) fn has_twin(&self, step: u64) -> bool {
        let text = |step| self.code(step).to_text();
        (1..=2).any(|back| {
            let earlier = step.saturating_sub(back);
            let mut later = step..=earlier + 2;
            later.any(|later| *text(later) == *text(earlier))
        })
    }
}

/// Which devices a worker registers: those of its residue class, so that numbers of workers never meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Devices of the whole run.
    pub(super) devices: u32,
    /// Workers of the whole run.
    pub(super) workers: u32,
}

/// Registers a worker's share over all of its connections.
///
/// # Errors
/// The first registration that the server refused; some devices may exist by then.
pub(super) fn register(
    worker: &mut Worker,
    share: Share,
    requests: &Arc<Requests>,
    signals: &Arc<Signals>,
) -> anyhow::Result<Vec<Enrolled>> {
    let next = Arc::new(AtomicU32::new(worker.index));
    let failed = Arc::new(AtomicBool::new(false));
    let (made, _) = worker.on_each(None, |_, mut connection| {
        let (next, failed, requests, signals) = (
            Arc::clone(&next),
            Arc::clone(&failed),
            Arc::clone(requests),
            Arc::clone(signals),
        );
        async move {
            let mut enrolled = Vec::new();
            while !failed.load(Ordering::Relaxed) && !signals.interrupted() {
                let number = next.fetch_add(share.workers, Ordering::Relaxed);
                if number >= share.devices {
                    break;
                }
                match register_one(&mut connection, &requests, number).await {
                    Ok(device) => enrolled.extend(device),
                    Err(error) => {
                        failed.store(true, Ordering::Relaxed);
                        return (connection, Err(error));
                    }
                }
                signals.progress.fetch_add(1, Ordering::Relaxed);
            }
            (connection, Ok(enrolled))
        }
    });
    worker.claimed = next.load(Ordering::Relaxed).min(share.devices);
    let mut all = Vec::new();
    for part in made {
        all.extend(part?);
    }
    Ok(all)
}

/// A worker's share of devices that were filled in: of all that the run drives, out of those
/// `stored`, from `offset` on.
pub(super) fn filled(
    worker: u32,
    share: Share,
    seed: &Seed,
    place: (u32, u32),
    order: Order,
) -> Vec<Enrolled> {
    chosen(share.devices, place, order)
        .skip(worker as usize)
        .step_by(share.workers as usize)
        .map(|number| seed.device(number))
        .collect()
}

/// Brings things into an order that depends on `seed` alone (Fisher and Yates, on splitmix64).
pub(super) fn shuffle<T>(things: &mut [T], seed: [u8; 4]) {
    let mut state = u64::from(u32::from_be_bytes(seed));
    for end in (1..things.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let at = (mixed ^ (mixed >> 31)) % (end as u64 + 1);
        things.swap(end, at as usize);
    }
}

/// Registers one device; nothing comes back for one that a busy server made without being able to say so,
/// because its key is lost.
async fn register_one(
    connection: &mut Connection,
    requests: &Requests,
    number: u32,
) -> anyhow::Result<Option<Enrolled>> {
    let request = requests.register(number);
    for attempt in 1..=TRIES {
        let answer = connection.exchange_within(REQUEST_TIMEOUT, &request).await;
        let response = answer.context("registering a device")?;
        match response.status {
            201 => return enrolled(response.body, number).map(Some),
            409 if attempt > 1 => return Ok(None),
            429 | 503 if attempt < TRIES => {
                let pause = pause(&response);
                tokio::time::sleep(pause).await;
            }
            _ => return Err(refusal("registering a device", &response)),
        }
    }
    Ok(None)
}

/// Reads the key out of the answer to a registration.
fn enrolled(body: &[u8], number: u32) -> anyhow::Result<Enrolled> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        secret: &'a str,
        algorithm: &'a str,
        digits: u8,
        period: u64,
    }
    // No cause is attached: it could quote the answer, which holds the key.
    let Ok(Answer { data }) = serde_json::from_slice(body) else {
        bail!("the answer to a registration is not what the contract says");
    };
    if (data.algorithm, data.digits, data.period) != ("SHA1", 6, 30) {
        bail!("the server made a device with other parameters than SHA1, 6 digits and 30 seconds");
    }
    let Ok(secret) = Secret::from_base32(data.secret) else {
        bail!("the key in the answer to a registration is not usable base32");
    };
    Ok(Enrolled { number, secret })
}

/// Deletes all devices that the worker may have registered and returns how many the server did not confirm.
pub(super) fn delete(
    worker: &mut Worker,
    share: Share,
    requests: &Arc<Requests>,
    signals: &Arc<Signals>,
) -> u32 {
    let next = Arc::new(AtomicU32::new(worker.index));
    let claimed = worker.claimed;
    let (made, _) = worker.on_each(None, |_, mut connection| {
        let (next, requests, signals) =
            (Arc::clone(&next), Arc::clone(requests), Arc::clone(signals));
        async move {
            let mut left = 0;
            loop {
                let number = next.fetch_add(share.workers, Ordering::Relaxed);
                if number >= claimed {
                    break;
                }
                let deleted = delete_one(&mut connection, &requests.delete(number)).await;
                left += u32::from(!deleted);
                signals.progress.fetch_add(1, Ordering::Relaxed);
            }
            (connection, left)
        }
    });
    made.into_iter().sum()
}

/// Whether the device is gone, tried again where that may help: deleting twice does no harm.
async fn delete_one(connection: &mut Connection, request: &[u8]) -> bool {
    for attempt in 1..=TRIES {
        let pause = match connection.exchange_within(REQUEST_TIMEOUT, request).await {
            Ok(response) => match response.status {
                200..=299 | 404 => return true,
                429 | 503 => pause(&response),
                _ => return false,
            },
            // The first failure is mostly a connection that was closed while idle.
            Err(_) if attempt == 1 => Duration::ZERO,
            Err(_) if attempt == 2 => Duration::from_millis(200),
            Err(_) => return false,
        };
        tokio::time::sleep(pause).await;
    }
    false
}

/// How long a busy server asks to wait.
fn pause(response: &Response<'_>) -> Duration {
    let seconds = response
        .header("retry-after")
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok());
    seconds
        .map_or(Duration::from_millis(200), Duration::from_secs)
        .min(MAX_PAUSE)
}

/// An answer as an error, in the server's own words.
fn refusal(what: &str, response: &Response<'_>) -> anyhow::Error {
    let problem: Problem = serde_json::from_slice(response.body).unwrap_or_default();
    let advice = match response.status {
        401 | 403 => "; the key needs the scopes devices:write and otp:verify",
        404 => "; is this an otpd?",
        _ => "",
    };
    let detail: String = problem
        .detail
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect();
    anyhow!(
        "{what}: the server answered {} {detail}{advice}",
        response.status
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_answer_gives_the_key() {
        fn check(body: &str, expected: bool) {
            assert_eq!(enrolled(body.as_bytes(), 1).is_ok(), expected, "{body}");
        }
        let body = |secret: &str, algorithm: &str, digits: u8, period: u64| {
            format!(
                r#"{{"success":true,"data":{{"device_id":"d","secret":"{secret}","algorithm":"{algorithm}","digits":{digits},"period":{period}}}}}"#
            )
        };
        check(
            &body("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "SHA1", 6, 30),
            true,
        );
        check(
            &body("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "SHA256", 6, 30),
            false,
        );
        check(
            &body("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "SHA1", 8, 30),
            false,
        );
        check(
            &body("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "SHA1", 6, 60),
            false,
        );
        check(&body("!!!", "SHA1", 6, 30), false);
        check("{}", false);
    }

    #[test]
    fn codes_that_are_those_of_spent_steps_are_known() {
        let secret = Secret::from_bytes(b"12345678901234567890".to_vec());
        let device = Enrolled { number: 1, secret };
        let twins: Vec<u64> = (910_730..910_745).filter(|s| device.has_twin(*s)).collect();
        // 910737 and 910738 have one code, as have 153567 and 153569: with it the step
        // between them is over.
        assert_eq!(twins, [910_738]);
        let twins: Vec<u64> = (153_560..153_575).filter(|s| device.has_twin(*s)).collect();
        assert_eq!(twins, [153_568, 153_569]);
    }

    #[test]
    fn a_shuffle_keeps_everything_and_moves_it() {
        let ordered: Vec<u32> = (0..100).collect();
        let shuffled = |seed| {
            let mut things = ordered.clone();
            shuffle(&mut things, seed);
            things
        };
        let one = shuffled([0, 0, 0, 1]);
        assert_ne!(one, ordered);
        assert_ne!(one, shuffled([0, 0, 0, 2]));
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(sorted, ordered);
    }

    #[test]
    fn an_error_never_quotes_a_key() {
        let body = br#"{"data":{"secret":"GEZDGNBVGY3TQOJQ","digits":"six"}}"#;
        let error = format!("{:?}", enrolled(body, 1).err().unwrap());
        assert!(!error.contains("GEZDGNBV"), "{error}");
    }
}
