//! The measured part of docs/performance.md: written between two markers, the words around them stay.

use anyhow::{Context, Result, ensure};

use super::figures::{Figures, Flood, Half, Run};

const BEGIN: &str = "<!-- measured: begin; `cargo xtask bench` writes what follows -->\n";
const END: &str = "<!-- measured: end -->";

/// The page with its measured part exchanged.
pub(crate) fn exchange(page: &str, part: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .context("docs/performance.md has lost its first marker")?;
    let (old, after) = rest
        .split_once(END)
        .context("docs/performance.md has lost its second marker")?;
    ensure!(
        !old.contains(BEGIN),
        "docs/performance.md has two first markers"
    );
    Ok(format!("{before}{BEGIN}\n{part}\n{END}{after}"))
}

/// The measured part.
pub(crate) fn part(figures: &Figures) -> String {
    let machine = &figures.machine;
    let mut text = String::new();
    if figures.quick {
        text +=
            "**A short check (`--quick`): these figures say that the command works, no more.**\n\n";
    }
    text += &format!(
        "Version {}, release build, on {} ({} cores, {} GiB), {}; PostgreSQL {}. {} s a \
         measurement, every device's own current code, every right answer an acceptance. The \
         baselines were measured in the same run over as many connections: `GET /livez`; the bare \
         handler (`otpd bench-bare`: the same HTTP library, the same JSON in and out, nothing \
         between); single-row updates of PostgreSQL by the same driver.\n\n",
        machine.version,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.system,
        machine.postgres,
        figures.seconds,
    );
    if let Some(tps) = figures.pgbench {
        text += &format!(
            "`pgbench -M prepared` with 32 clients and a single-row update: {} a second.\n\n",
            whole(tps)
        );
    }
    text += "![Verifications per second](performance.svg)\n\n";
    text += &runs(&figures.runs);
    text += &half(&figures.half);
    text += &flood(&figures.flood);
    text + COMMANDS
}

const COMMANDS: &str =
    "The commands, as `cargo xtask bench` gives them (SQLite: the server, or the \
bare handler, on one core and the driver on another; PostgreSQL: nothing bound):\n
```
otpd bench-fill --devices N --seed SEED
taskset -c 0 otpd
taskset -c 0 otpd bench-bare
taskset -c 1 otpd bench --url … --bare … --connections 64 --order in-turn --filled SEED --json
```
";

fn runs(runs: &[Run]) -> String {
    let mut text =
        "| | devices stored | order | connections | verify/s | p50 ms | p99 ms | p99.9 ms \
                    | to `/livez` | to bare | to updates | memory MiB | not accepted |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for run in runs {
        let ratio = |other: Option<f64>| match other {
            Some(other) if other > 0.0 => format!("{:.2}", run.per_second / other),
            _ => "–".to_owned(),
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            run.scene,
            whole(f64::from(run.stored)),
            run.order.replace('_', " "),
            run.connections,
            whole(run.per_second),
            millis(run.p50_us),
            millis(run.p99_us),
            millis(run.p99_9_us),
            ratio(run.livez),
            ratio(run.bare),
            ratio(run.updates),
            run.rss_kib / 1024,
            run.faults,
        );
    }
    text + "\n"
}

fn half(rows: &[Half]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "At half of what 64 connections reached, at a constant rate, latencies counted \
                    from the moment a request was due:\n\n\
                    | | devices stored | asked/s | accepted/s | p50 ms | p99 ms | not accepted |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            row.scene,
            whole(f64::from(row.stored)),
            whole(f64::from(row.rate)),
            whole(row.per_second),
            millis(row.p50_us),
            millis(row.p99_us),
            row.faults,
        );
    }
    text + "\n"
}

fn flood(rows: &[Flood]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "With ten times that load due (what the driver had answered is less, it is one \
                    core): acceptances go on, the rest is refused with 503 at once, and `/livez` \
                    answers meanwhile:\n\n\
                    | | devices stored | connections | due/s | answered/s | accepted/s | refused \
                    | wrong or lost | `/livez` p99 ms | `/livez` max ms |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.scene,
            whole(f64::from(row.stored)),
            row.connections,
            whole(f64::from(row.asked)),
            whole(row.answered),
            whole(row.goodput),
            whole(row.refused as f64),
            row.failed,
            millis(row.livez_p99_us),
            millis(row.livez_max_us),
        );
    }
    text + "\n"
}

/// A count with separated thousands.
pub(crate) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn millis(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made-up figures, kept as a file so that the reader is tested too.
    fn figures() -> Figures {
        serde_json::from_str(include_str!("sample.json")).unwrap()
    }

    #[test]
    fn the_part_says_what_was_measured_and_nothing_else() {
        let text = part(&figures());
        for line in [
            "| SQLite | 60,000 | in turn | 64 | 1,234 | 2.7 | 5.3 | 21.0 | 0.25 | 0.50 | – | 66 | 0 |",
            "| two nodes | 1,000,000 | random | 16 | 999 | 1.0 | 2.0 | 3.0 | – | – | 0.75 | 120 | 3 |",
            "| SQLite | 60,000 | 617 | 616 | 0.9 | 1.9 | 0 |",
            "| SQLite | 60,000 | 2560 | 12,340 | 4,000 | 1,200 | 8,400 | 0 | 7.0 | 31.5 |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("32 clients and a single-row update: 5,432 a second"));
        assert!(!text.contains("short check"));
    }

    #[test]
    fn a_short_check_says_that_it_is_one() {
        let quick = Figures {
            quick: true,
            ..figures()
        };
        assert!(part(&quick).starts_with("**A short check"));
        let nothing = part(&Figures::default());
        assert!(!nothing.contains("At half of") && !nothing.contains("ten times"));
    }

    #[test]
    fn the_words_around_the_markers_stay() {
        let page = format!("# Before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = exchange(&page, "new").unwrap();
        assert_eq!(new, format!("# Before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(exchange(&new, "new").unwrap(), new);
        for broken in ["no marker", BEGIN, END] {
            assert!(exchange(broken, "new").is_err(), "{broken}");
        }
    }

    #[test]
    fn the_page_of_this_repository_has_its_markers() {
        let page = include_str!("../../../docs/performance.md");
        assert!(exchange(page, "new").is_ok());
    }

    #[test]
    fn thousands_are_separated() {
        let check = |number, text| assert_eq!(whole(number), text);
        check(0.4, "0");
        check(999.0, "999");
        check(1_000.0, "1,000");
        check(1_234_567.0, "1,234,567");
    }
}
