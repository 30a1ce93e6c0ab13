//! Devices that are put into a database offline, by the million, so that a run finds a large one without an hour of registrations.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use app::{Algorithm, Caller, Context, Digits, Registration};
use clap::Args;
use domain::{DeviceName, Kind, UserName};
use otp::Secret;
use serde_json::value::RawValue;

use super::args::Order;
use super::clock::now;
use super::devices::Enrolled;
use super::request::{device_id, run_name};
use crate::config::settings::Settings;
use crate::wiring::{self, Surroundings};

/// Devices in one commit: few enough that it ends long before a batch is given up.
const BATCH: u32 = 250;

/// What the keys of filled devices are made from. Whoever has it has all of them.
#[derive(Clone)]
pub struct Seed([u8; 20]);

impl Seed {
    /// What sets the devices apart from those of other runs; it stands in their names.
    pub(super) fn run(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// The key of a device: 16 secret bytes, then its number.
    fn key(&self, number: u32) -> Secret {
        let mut key = self.0[4..].to_vec();
        key.extend(number.to_be_bytes());
        Secret::from_bytes(key)
    }

    /// Device `number` as the driver uses it.
    pub(super) fn device(&self, number: u32) -> Enrolled {
        let secret = self.key(number);
        Enrolled { number, secret }
    }
}

impl FromStr for Seed {
    type Err = &'static str;

    /// Takes 40 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let seed = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        seed.map(Self)
            .ok_or("a seed consists of 40 hexadecimal digits")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// What to fill a database with.
#[derive(Args, Clone, Debug)]
pub struct FillArgs {
    /// Devices to make, each with a user of its own
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub devices: u32,

    /// 40 random hexadecimal digits, from which the keys are made: give the same to `otpd bench --filled`
    #[arg(long)]
    pub seed: Seed,
}

/// Makes the devices in the database of the settings, through the same code as a registration: sealed,
/// recorded in the log, counted. The server must not run on an embedded database meanwhile.
///
/// # Errors
/// In production, for the keys are no better kept than the seed; when the database cannot be used.
pub async fn fill(
    args: &FillArgs,
    settings: &Settings,
    around: &Surroundings,
) -> anyhow::Result<()> {
    ensure!(
        !settings.environment.is_production(),
        "a database in production is not filled with devices whose keys a command line held"
    );
    let opened = wiring::open(settings, around).await?;
    let app = wiring::start(settings, opened, around).await?;
    let context = Context::local(Caller::CommandLine);
    let began = now();
    let mut made = Ok(());
    for first in (0..args.devices).step_by(BATCH as usize) {
        let end = args.devices.min(first + BATCH);
        made = async {
            let batch = (first..end).map(|number| registration(&args.seed, number));
            let batch: Vec<_> = batch.collect::<anyhow::Result<_>>()?;
            app.register_all(&context, &batch).await?;
            anyhow::Ok(())
        }
        .await
        .with_context(|| format!("filling stopped after {first} devices"));
        if made.is_err() {
            break;
        }
    }
    app.close().await;
    made?;
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(devices = args.devices, seconds, "the database is filled");
    Ok(())
}

fn registration(seed: &Seed, number: u32) -> anyhow::Result<Registration> {
    let name = device_id(&run_name(seed.run()), number);
    Ok(Registration {
        device: DeviceName::parse(&name)?,
        user: UserName::parse(&name)?,
        shown: RawValue::from_string(format!("\"{name}\""))?,
        kind: Kind::Totp { period: 30 },
        algorithm: Algorithm::Sha1,
        digits: Digits::default(),
        policy: None,
        label: None,
        issuer: None,
        secret: Some(seed.key(number)),
        require_confirmation: false,
        test: false,
        door: None,
    })
}

/// The numbers of `devices` devices out of `stored` that were filled in, the first of which is `offset`:
/// one after the other, or spread evenly over all, where other offsets below `stored / devices` give
/// others.
pub(super) fn chosen(
    devices: u32,
    (stored, offset): (u32, u32),
    order: Order,
) -> impl Iterator<Item = u32> {
    let (devices, stored) = (u64::from(devices.min(stored)), u64::from(stored));
    let among = match order {
        Order::InTurn => devices,
        Order::Spread | Order::Random => stored,
    };
    // Cannot be cut off: each is less than `stored`.
    (0..devices).map(move |n| ((n * among / devices + u64::from(offset)) % stored) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "0000ab01000102030405060708090a0b0c0d0e0f";

    #[test]
    fn a_seed_is_40_digits_and_never_printed() {
        let check = |text: &str, good| assert_eq!(text.parse::<Seed>().is_ok(), good, "{text}");
        check(SEED, true);
        check(&SEED.to_uppercase(), true);
        check(&SEED[1..], false);
        check(&SEED.replace('a', "g"), false);
        check("", false);
        let seed: Seed = SEED.parse().unwrap();
        assert_eq!(format!("{seed:?}"), "Seed(…)");
    }

    #[test]
    fn every_device_has_a_name_and_a_key_of_its_own() {
        let seed: Seed = SEED.parse().unwrap();
        let made = registration(&seed, 42).unwrap();
        assert_eq!(made.device.as_str(), "bench-0000ab01-0000042");
        let key = made.secret.unwrap();
        assert_eq!(key.expose(), seed.device(42).secret.expose());
        assert_eq!(key.bits(), 160);
        assert_ne!(key.expose(), seed.device(43).secret.expose());
        assert!(
            !made.device.as_str().contains("0001020304"),
            "the secret part stands in no name"
        );
    }

    #[test]
    fn driven_devices_are_neighbours_or_spread_over_all() {
        let check = |devices, stored, offset, in_turn: &[u32], spread: &[u32]| {
            let all = [Order::InTurn, Order::Spread, Order::Random];
            for (order, expected) in all.into_iter().zip([in_turn, spread, spread]) {
                let chosen: Vec<u32> = chosen(devices, (stored, offset), order).collect();
                assert_eq!(chosen, expected, "{devices} of {stored} from {offset}");
            }
        };
        check(3, 3, 0, &[0, 1, 2], &[0, 1, 2]);
        check(3, 10, 0, &[0, 1, 2], &[0, 3, 6]);
        check(3, 10, 1, &[1, 2, 3], &[1, 4, 7]);
        check(3, 10, 8, &[8, 9, 0], &[8, 1, 4]);
        check(5, 2, 0, &[0, 1], &[0, 1]);
        check(2, 5_000_000, 3, &[3, 4], &[3, 2_500_003]);
    }
}
