//! The arguments of `otpd bench`.

use std::fmt;
use std::str::FromStr;

use clap::Args;

/// What to measure and how hard.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Where the server listens; plain HTTP only
    #[arg(long, default_value = "http://127.0.0.1:8004")]
    pub url: String,

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

    /// Measure GET /livez over the same connections first (the default)
    #[arg(long, overrides_with = "no_baseline")]
    pub baseline: bool,

    /// Do not measure GET /livez
    #[arg(long, overrides_with = "baseline")]
    pub no_baseline: bool,

    /// Leave the devices on the server
    #[arg(long)]
    pub no_cleanup: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
        assert_eq!(args.url, "http://127.0.0.1:8004");
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
    fn a_key_is_never_printed() {
        let args = parsed(&["--key", "otpd_a_secret"]).unwrap();
        assert!(!format!("{args:?}").contains("secret"));
    }
}
