//! Which machine and which program the figures belong to.

use std::path::Path;

use super::figures::Machine;
use super::scene;
use crate::{postgres, tools};

/// This machine with this program, which was built as `build` says.
pub(crate) fn machine(program: &Path, build: &str) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str, separator: char| -> String {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(separator));
        value.map_or("unknown".to_owned(), |(_, value)| {
            value.trim().trim_matches('"').to_owned()
        })
    };
    let memory = value(&read("/proc/meminfo"), "MemTotal", ':');
    let memory = memory.split_whitespace().next().map(str::parse::<u64>);
    let said = |program: &str, last: bool| {
        let text = tools::output(program, &["--version"]).unwrap_or_default();
        let mut words = text.split_whitespace();
        let word = if last {
            words.next_back()
        } else {
            words.nth(2)
        };
        word.unwrap_or("unknown").to_owned()
    };
    let pgbench = scene::program_of_postgres("pgbench").unwrap_or_default();
    let memory_gib = memory
        .and_then(Result::ok)
        .unwrap_or(0)
        .div_ceil(1024 * 1024);
    Machine {
        processor: value(&read("/proc/cpuinfo"), "model name", ':'),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib,
        system: value(&read("/etc/os-release"), "PRETTY_NAME", '='),
        postgres: said(&pgbench.display().to_string(), false),
        postgres_settings: postgres::sized(memory_gib),
        version: said(&program.display().to_string(), true),
        build: build.to_owned(),
        fingerprint: fingerprint(&program.display().to_string()),
    }
}

/// The first digits of the program's SHA-256, so that figures of two programs are never mixed.
fn fingerprint(program: &str) -> String {
    let text = tools::output("sha256sum", &[program]).unwrap_or_default();
    text.chars()
        .take(16)
        .take_while(char::is_ascii_hexdigit)
        .collect()
}
