//! Reads what `cargo test` prints and counts it.

/// What the test programs have reported so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that were compiled and not run; none may be.
    pub(crate) ignored: u64,
    /// The names of the tests that failed, as printed.
    pub(crate) names: Vec<String>,
}

impl Summary {
    /// Takes in one line of output; lines that are no report count for nothing.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.names.push(name.to_string());
        }
        let Some(report) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in report.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(kind)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], passed: u64, failed: u64, ignored: u64, names: &[&str]) {
        let mut summary = Summary::default();
        for line in lines {
            summary.read(line);
        }
        let names = names.iter().map(ToString::to_string).collect();
        let expected = Summary {
            passed,
            failed,
            ignored,
            names,
        };
        assert_eq!(summary, expected, "{lines:?}");
    }

    #[test]
    fn counts_every_program() {
        check(&[], 0, 0, 0, &[]);
        check(&["running 3 tests", "test a ... ok"], 0, 0, 0, &[]);
        check(
            &[
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
                "test guard::tests::locks ... FAILED",
                "test result: FAILED. 10 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 7.50s",
            ],
            13,
            1,
            1,
            &["guard::tests::locks"],
        );
        check(&["a test result: ok. 3 passed;"], 0, 0, 0, &[]);
    }
}
