//! QR codes as text: two modules a character, so that a phone can scan a terminal.

use std::io::IsTerminal;

use fast_qr::ECL;
use fast_qr::qr::{QRBuilder, QRCode};

/// Light modules around the code. ISO/IEC 18004 asks for 4; scanners make do with 2, and
/// the rows that this saves keep the code on the screen.
const QUIET: usize = 2;
/// Black on white, whatever the terminal's own colours are.
const COLOURS: &str = "\x1b[30;47m";
const RESET: &str = "\x1b[0m";

/// What the text is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A file or another program: plain characters, whose ink is light as on most terminals.
    Plain,
    /// A terminal: with colours of its own, scannable on a dark and on a light one.
    Terminal,
}

impl Look {
    /// The one that fits standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// The lines of the QR code of a text.
///
/// # Errors
/// When the text is too long for one.
pub fn drawn(text: &str, look: Look) -> anyhow::Result<Vec<String>> {
    // A screen has no stains: the least error correction gives the smallest code.
    let code = QRBuilder::new(text.as_bytes()).ecl(ECL::L).build();
    let code = code.map_err(|_| anyhow::anyhow!("the URI is too long to be drawn as a QR code"))?;
    Ok(lines(&code, look))
}

fn lines(code: &QRCode, look: Look) -> Vec<String> {
    let inside = QUIET..QUIET + code.size;
    let side = code.size + 2 * QUIET;
    let light = |row: usize, column: usize| {
        let on_code = inside.contains(&row) && inside.contains(&column);
        !on_code || !code[row - QUIET][column - QUIET].value()
    };
    let line = |row: usize| -> String {
        let cell = |column: usize| {
            let upper = light(row, column);
            match look {
                Look::Plain => half_block(upper, row + 1 < side && light(row + 1, column)),
                // The ground is white: below the last row too.
                Look::Terminal => half_block(!upper, !light(row + 1, column)),
            }
        };
        let cells: String = (0..side).map(cell).collect();
        match look {
            Look::Plain => cells,
            Look::Terminal => format!("{COLOURS}{cells}{RESET}"),
        }
    };
    (0..side).step_by(2).map(line).collect()
}

/// The character with ink in these halves.
fn half_block(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_terminal_sets_and_resets_its_colours() {
        let terminal = drawn("otpauth://totp/a?secret=JBSWY3DP", Look::Terminal).unwrap();
        let plain = drawn("otpauth://totp/a?secret=JBSWY3DP", Look::Plain).unwrap();
        assert_eq!(terminal.len(), plain.len());
        for (line, plain) in terminal.iter().zip(&plain) {
            let cells = line
                .strip_prefix(COLOURS)
                .and_then(|l| l.strip_suffix(RESET));
            assert_eq!(cells.unwrap().chars().count(), plain.chars().count());
            assert!(!plain.contains('\x1b'));
        }
    }

    #[test]
    fn what_no_code_can_hold_is_refused() {
        assert!(drawn(&"a".repeat(3000), Look::Plain).is_err());
    }
}
