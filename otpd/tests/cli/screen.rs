//! A terminal of 80 columns and 40 rows, as far as the program's output needs one.

/// Columns of the terminal.
const WIDTH: usize = 80;
/// Rows of the terminal.
const HEIGHT: usize = 40;

/// A character with its colours; `None` is the terminal's own.
#[derive(Clone, Copy)]
struct Cell {
    shown: char,
    light_ink: Option<bool>,
    light_ground: Option<bool>,
}

const EMPTY: Cell = Cell {
    shown: ' ',
    light_ink: None,
    light_ground: None,
};

/// What is to be seen after all of an output: the last rows.
pub(crate) struct Screen(Vec<Vec<Cell>>);

impl Screen {
    pub(crate) fn after(output: &str) -> Self {
        let mut rows = vec![Vec::new()];
        let mut pen = EMPTY;
        let mut rest = output.chars();
        while let Some(shown) = rest.next() {
            match shown {
                '\r' => {}
                '\n' => rows.push(Vec::new()),
                '\x1b' => {
                    let sequence: String = rest.by_ref().take_while(|c| *c != 'm').collect();
                    for number in sequence.trim_start_matches('[').split(';') {
                        match number {
                            "0" => pen = EMPTY,
                            "30" => pen.light_ink = Some(false),
                            "47" => pen.light_ground = Some(true),
                            _ => {}
                        }
                    }
                }
                _ => {
                    if rows.last().unwrap().len() == WIDTH {
                        rows.push(Vec::new());
                    }
                    rows.last_mut().unwrap().push(Cell { shown, ..pen });
                }
            }
        }
        let scrolled = rows.len().saturating_sub(HEIGHT);
        Self(rows.split_off(scrolled))
    }

    /// Its text; what was longer than a row goes on in the next one without a break.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.0 {
            text.extend(row.iter().map(|cell| cell.shown));
            if row.len() < WIDTH {
                text.push('\n');
            }
        }
        text
    }

    /// Two modules a cell, one above the other, true where it is light: all of it, with
    /// letters as blots, on a terminal with a dark or a light ground.
    pub(crate) fn modules(&self, ground: bool) -> Vec<Vec<bool>> {
        let mut modules = Vec::new();
        for row in &self.0 {
            let mut halves = [Vec::new(), Vec::new()];
            for column in 0..WIDTH {
                let cell = row.get(column).unwrap_or(&EMPTY);
                let behind = cell.light_ground.unwrap_or(ground);
                let ink = cell.light_ink.unwrap_or(!ground);
                let inked = match cell.shown {
                    ' ' => [false, false],
                    '█' => [true, true],
                    '▀' => [true, false],
                    _ => [false, true],
                };
                for (half, inked) in halves.iter_mut().zip(inked) {
                    half.push(if inked { ink } else { behind });
                }
            }
            modules.extend(halves);
        }
        modules
    }
}
