//! The measured part of docs/performance.md: written between two markers, the words around them stay.

use anyhow::{Context, Result, ensure};

use super::aims;
use super::figures::{Figures, Flood, Half, Run};
use super::soak::{Course, Soak};

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
    let settings = machine.postgres_settings.as_str();
    let settings = match settings {
        "" => String::new(),
        chosen => format!(" (`{chosen}`)"),
    };
    text += &format!(
        "Version {}, {}, on {} ({} cores, {} GiB), {}; PostgreSQL {}{}. {} s a \
         measurement where nothing else is said, every device's own current code, sent once. The \
         baselines were measured in the same run over as many connections: in turns with the \
         verifications `GET /livez` and the bare handler (`otpd bench-bare`: the same HTTP library, \
         the same JSON in and out, nothing between); before them single-row updates of PostgreSQL \
         by the same driver. After each run of PostgreSQL over the small database: `pgbench -M \
         prepared` with 32 clients and such an update.\n\n",
        machine.version,
        machine.build,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.system,
        machine.postgres,
        settings,
        figures.seconds,
    );
    text += &aims::table(figures);
    text += "![Verifications per second](performance.svg)\n\n";
    text += &runs(&figures.runs);
    text += &half(&figures.half);
    text += &flood(&figures.flood);
    text += &after(&figures.flood);
    text += &soak(&figures.soak);
    text += &exhausted(figures);
    text + COMMANDS
}

const COMMANDS: &str =
    "The commands, as `cargo xtask bench` gives them (SQLite: the server, or the \
bare handler, on one core and the driver on another; PostgreSQL: nothing bound; once filled \
and indexed, its database is vacuumed and has a checkpoint):\n
```
otpd bench-fill --devices N --seed SEED
taskset -c 0 otpd
psql -c 'VACUUM (ANALYZE)' -c CHECKPOINT
taskset -c 0 otpd bench-bare
taskset -c 1 otpd bench --url … --bare … --connections 64 --seconds 6 --order in-turn \\
  --filled SEED --stored N --devices 60000 --offset 0 --json
```
";

fn runs(runs: &[Run]) -> String {
    let mut text =
        "In turn: devices that were stored one after the other, of a million each once at most. \
         Spread: some at the same distance from each other, over all that are stored; at random: \
         the same, shuffled.\n\n\
         | | devices stored | order | connections | verify/s | p50 ms | p99 ms | p99.9 ms \
                    | to `/livez` | to bare | to updates | to pgbench | memory MiB \
                    | not accepted |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for run in runs {
        let ratio = |other: Option<f64>| match other {
            Some(other) if other > 0.0 => format!("{:.2}", run.per_second / other),
            _ => "–".to_owned(),
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
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
            ratio(run.pgbench),
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
    let mut text = "At half of what was reached over 64 connections with as many devices stored, \
                    spread, at a constant rate; latencies count from the moment a request was due:\n\n\
                    | | devices stored | due/s | accepted/s | p50 ms | p99 ms | not accepted or not sent |\n\
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
    let mut text = "With ten times the load due that was reached over as many devices, spread, one \
                    request in flight on each connection. What was \
                    due and could not be sent, because all connections waited or the driver's core was \
                    full, is the difference between due and answered; `/livez` was asked every 20 ms \
                    meanwhile:\n\n\
                    | | devices stored | seconds | connections | due/s | answered/s | accepted/s | refused \
                    | wrong or lost | `/livez` p99 ms | `/livez` max ms | memory MiB |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.scene,
            whole(f64::from(row.stored)),
            row.seconds,
            row.connections,
            whole(f64::from(row.asked)),
            whole(row.answered),
            whole(row.goodput),
            whole(row.refused as f64),
            row.failed,
            millis(row.livez_p99_us),
            millis(row.livez_max_us),
            row.rss_kib / 1024,
        );
    }
    text + "\n"
}

fn after(floods: &[Flood]) -> String {
    if floods.iter().all(|flood| flood.after.is_empty()) {
        return String::new();
    }
    let mut text = "The same servers at once afterwards, at half the load, with devices that had no part \
                    in it; a row is a run of its own, and between two the driver looks at the server's \
                    clock:\n\n\
                    | | seconds after | due/s | accepted/s | p50 ms | p99 ms | not accepted or not sent |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for flood in floods {
        for moment in &flood.after {
            text += &format!(
                "| {} | {:.1} to {:.1} | {} | {} | {} | {} | {} |\n",
                flood.scene,
                moment.from,
                moment.to,
                whole(f64::from(moment.half.rate)),
                whole(moment.half.per_second),
                millis(moment.half.p50_us),
                millis(moment.half.p99_us),
                moment.half.faults,
            );
        }
    }
    text + "\n"
}

fn soak(rows: &[Soak]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "At full speed for longer, every device stored driven in turn. Memory and descriptors \
                    (open files and connections): the most in the first quarter of the time since the first \
                    look that counts, in all of it, and in its last quarter. Growth of the \
                    database (SQLite: the file and its log; PostgreSQL: `pg_database_size`) in bytes per \
                    verification, in the same two quarters (whole minutes, for some work is done once a \
                    minute). The pace is the server's own count \
                    between two looks, a few seconds apart:\n\n\
                    | | devices stored | connections | seconds | verify/s | pace/s | p99 ms | not accepted \
                    | first after | memory MiB | descriptors | growth |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let none = || "–".to_owned();
    let course = |course: Option<Course>, unit: u64| match course {
        Some(Course {
            first_quarter,
            highest,
            last_quarter,
        }) => [first_quarter, highest, last_quarter]
            .map(|most| (most / unit).to_string())
            .join(", "),
        None => none(),
    };
    for row in rows {
        let pace = row.pace();
        let growth = row.growth();
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.scene,
            whole(f64::from(row.stored)),
            row.connections,
            row.seconds,
            whole(row.per_second),
            pace.map_or_else(none, |(low, high)| format!(
                "{} to {}",
                whole(low),
                whole(high)
            )),
            millis(row.p99_us),
            row.faults,
            row.settled_after()
                .map_or_else(none, |after| format!("{after:.0} s")),
            course(row.memory(), 1024),
            course(row.descriptors(), 1),
            growth.map_or_else(none, |growth| format!(
                "{:.0}, {:.0}",
                growth.first_quarter, growth.last_quarter
            )),
        );
    }
    text + "\n"
}

/// Says of which figures the time was shorter than asked for.
fn exhausted(figures: &Figures) -> String {
    let runs = figures.runs.iter().filter(|run| run.exhausted);
    let runs = runs.map(|run| format!("{} at {} connections", run.scene, run.connections));
    let half = figures.half.iter().filter(|half| half.exhausted);
    let half = half.map(|half| format!("{} at half the load", half.scene));
    let flood = figures.flood.iter().filter(|flood| flood.exhausted);
    let flood = flood.map(|flood| format!("{} at ten times the load", flood.scene));
    let after = figures.flood.iter().filter(|flood| {
        let mut runs = flood.after.iter();
        runs.any(|after| after.half.exhausted)
    });
    let after = after.map(|flood| format!("{} after ten times the load", flood.scene));
    let soak = figures.soak.iter().filter(|soak| soak.exhausted);
    let soak = soak.map(|soak| format!("{} for {} s", soak.scene, soak.seconds));
    let all: Vec<String> = runs
        .chain(half)
        .chain(flood)
        .chain(after)
        .chain(soak)
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!(
        "Ended before the time was up, because every code had been sent: {}.\n\n",
        all.join("; ")
    )
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

/// Microseconds as milliseconds.
pub(crate) fn millis(micros: u64) -> String {
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
    fn figures_of_an_older_command_are_read() {
        let mut old: serde_json::Value = serde_json::from_str(include_str!("sample.json")).unwrap();
        let of = old.as_object_mut().unwrap();
        of.remove("soak").unwrap();
        of["machine"]
            .as_object_mut()
            .unwrap()
            .remove("fingerprint")
            .unwrap();
        let flood = of["flood"][0].as_object_mut().unwrap();
        for name in ["after", "seconds", "lasted", "rss_kib"] {
            flood.remove(name).unwrap();
        }
        let old: Figures = serde_json::from_value(old).unwrap();
        assert!(
            part(&old).contains("| 0 s: 97 %, "),
            "its flood was no minute"
        );
    }

    #[test]
    fn the_part_says_what_was_measured_and_nothing_else() {
        let text = part(&figures());
        for line in [
            "| SQLite | 60,000 | in turn | 64 | 1,234 | 2.7 | 5.3 | 21.0 | 0.25 | 0.50 | – | – | 66 | 0 |",
            "| two nodes | 1,000,000 | random | 16 | 999 | 1.0 | 2.0 | 3.0 | – | – | 0.75 | 0.50 | 120 | 3 |",
            "| SQLite | 60,000 | 617 | 616 | 0.9 | 1.9 | 0 |",
            "| SQLite | 60,000 | 6 | 2560 | 12,340 | 4,000 | 1,200 | 8,400 | 0 | 7.0 | 31.5 | 99 |",
            "| SQLite | 2.5 to 4.5 | 617 | 610 | 0.9 | 21.9 | 4 |",
            "| SQLite | 700,000 | 64 | 30 | 1,234 | 1,000 to 2,000 | 5.3 | 0 | 10 s | 60, 62, 61 | 78, 78, 77 | 300, 310 |",
            "| at least 0.30 of the bare handler | SQLite | 0.500 (1,234 of 2,468) | yes |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("short check") && !text.contains("Ended before"));
        assert!(text.contains("Version 0.1.0, a build, on a processor"));
        assert!(text.contains("PostgreSQL 15.1 (`-c a=b`)"));
    }

    #[test]
    fn a_short_check_says_that_it_is_one() {
        let quick = Figures {
            quick: true,
            ..figures()
        };
        assert!(part(&quick).starts_with("**A short check"));
        let nothing = part(&Figures::default());
        for absent in [
            "At half of",
            "ten times that",
            "at once afterwards",
            "for longer",
        ] {
            assert!(!nothing.contains(absent), "{absent}");
        }
    }

    #[test]
    fn a_run_that_ended_early_is_named() {
        let mut figures = figures();
        figures.runs[2].exhausted = true;
        figures.flood[0].exhausted = true;
        figures.flood[0].after[0].half.exhausted = true;
        figures.soak[0].exhausted = true;
        let text = part(&figures);
        let said = "every code had been sent: two nodes at 16 connections; SQLite at ten times the load; \
                    SQLite after ten times the load; SQLite for 30 s.";
        assert!(text.contains(said), "{text}");
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
