//! The arguments of `otpd bench`.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::filled::Seed;

/// What to measure and how hard.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Where the server listens; plain HTTP only. Several addresses (commas between) are nodes of one
    /// service, over which the connections are spread
    #[arg(long, default_value = "http://127.0.0.1:8004", value_delimiter = ',')]
    pub url: Vec<String>,

    /// API key with the scopes devices:write and otp:verify
    #[arg(long, env = "OTPD_BENCH_KEY", hide_env_values = true)]
    pub key: ApiKey,

    /// Keep-alive connections, one request in flight on each
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,

    /// Devices to register; each gives three acceptances at once, then one more every 30 s
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub devices: u32,

    /// Seconds of measured verification
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,

    /// Seconds of verification before the measurement starts; they use up devices too
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub warm: u32,

    /// Verifications per second at a constant rate, latencies counted from the intended send time;
    /// without it every connection sends as soon as it has its answer
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,

    /// Threads of the driver
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Measure GET /livez over the same connections too, in turns with the verifications (the default)
    #[arg(long, overrides_with = "no_baseline")]
    pub baseline: bool,

    /// Do not measure GET /livez
    #[arg(long, overrides_with = "baseline")]
    pub no_baseline: bool,

    /// Measure a bare handler too, which parses the same JSON and answers the same: this program again, or
    /// one that you started yourself to bind it to a core (`taskset -c 0 otpd bench-bare`)
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    pub bare: Option<Option<String>>,

    /// Measure single-row updates in that PostgreSQL database too, in a table of their own
    #[arg(long, value_name = "URL")]
    pub postgres_baseline: Option<DatabaseUrl>,

    /// Which device comes next
    #[arg(long, value_enum, default_value_t = Order::InTurn)]
    pub order: Order,

    /// Ask GET /livez every 20 ms beside the verifications, on a connection of its own
    #[arg(long)]
    pub watch: bool,

    /// Use devices that `otpd bench-fill` made with this seed, and register none
    #[arg(long, value_name = "SEED", hide = true)]
    pub filled: Option<Seed>,

    /// How many devices were filled in; as many as are used when left out
    #[arg(long, hide = true, requires = "filled")]
    pub stored: Option<u32>,

    /// How many of the filled devices stand before the first that is used, so that runs can have others
    /// (spread, or at random: less than how far they stand apart)
    #[arg(long, hide = true, requires = "filled", default_value_t = 0)]
    pub offset: u32,

    /// Leave the devices on the server
    #[arg(long)]
    pub no_cleanup: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which devices verify, where more were filled in, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they were registered: neighbours in the database follow each other.
    InTurn,
    /// The same, but spread evenly over all that were filled in.
    #[value(hide = true)]
    Spread,
    /// Shuffled once: each verification touches another part of the database.
    Random,
}

impl Order {
    /// The word for it in an answer.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::InTurn => "in_turn",
            Self::Spread => "spread",
            Self::Random => "random",
        }
    }
}

/// The address of a database, with its password, and so never printed.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The address as given.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// An API key as given by the caller: visible ASCII, fit for a header, and never printed.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The text that goes behind `Bearer `.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = &'static str;

    /// Takes visible ASCII only: a line break in a key would start another header.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("the key is empty");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a key consists of visible ASCII characters without spaces");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parsed(words: &[&str]) -> Option<BenchArgs> {
        let line = ["bench"].iter().chain(words);
        Line::try_parse_from(line).ok().map(|line| line.bench)
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let args = parsed(&["--key", "k"]).unwrap();
        assert_eq!(args.url, ["http://127.0.0.1:8004"]);
        assert!(args.bare.is_none() && args.order == Order::InTurn);
        assert_eq!(
            (args.connections, args.devices, args.seconds),
            (64, 20_000, 10)
        );
        assert_eq!((args.threads, args.warm, args.rate), (1, 0, None));
        assert!(!args.no_baseline && !args.no_cleanup && !args.json);
    }

    #[test]
    fn the_last_word_on_the_baseline_wins() {
        assert!(
            parsed(&["--key", "k", "--baseline", "--no-baseline"])
                .unwrap()
                .no_baseline
        );
        assert!(
            !parsed(&["--key", "k", "--no-baseline", "--baseline"])
                .unwrap()
                .no_baseline
        );
    }

    #[test]
    fn unusable_arguments_are_refused() {
        for words in [
            &["--key", ""][..],
            &["--key", "a b"],
            &["--key", "a\r\nX: y"],
            &["--key", "k", "--connections", "0"],
            &["--key", "k", "--rate", "0"],
            &["--key", "k", "--devices", "0"],
        ] {
            assert!(parsed(words).is_none(), "{words:?}");
        }
    }

    #[test]
    fn a_bare_handler_is_started_or_named() {
        fn check(words: &[&str], expected: Option<Option<&str>>) {
            let bare = parsed(words).unwrap().bare;
            let found = bare.as_ref().map(Option::as_deref);
            assert_eq!(found, expected, "{words:?}");
        }
        check(&["--key", "k"], None);
        check(&["--key", "k", "--bare", "--json"], Some(None));
        check(
            &["--key", "k", "--bare", "http://h:1"],
            Some(Some("http://h:1")),
        );
    }

    #[test]
    fn nodes_are_separated_by_commas() {
        let args = parsed(&["--key", "k", "--url", "http://a:1,http://b:2"]).unwrap();
        assert_eq!(args.url, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn keys_and_passwords_are_never_printed() {
        let url = "postgres://u:secret@h/d";
        let args = parsed(&["--key", "otpd_a_secret", "--postgres-baseline", url]).unwrap();
        assert!(!format!("{args:?}").contains("secret"));
    }
}
