//! The parts of a measurement, and how the figures of several calls come together.

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::figures::Figures;
use super::scene::Kind;

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Everything over SQLite but the soak
    Sqlite,
    /// Everything over PostgreSQL but the soak; pgbench
    Postgres,
    /// Everything over two nodes with one PostgreSQL
    TwoNodes,
    /// Full load for minutes over SQLite
    Soak,
    /// Full load for minutes over PostgreSQL
    SoakPostgres,
}

impl Part {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Sqlite | Self::Soak => Kind::Sqlite,
            Self::Postgres | Self::SoakPostgres => Kind::Postgres,
            Self::TwoNodes => Kind::TwoNodes,
        }
    }

    pub(crate) fn is_soak(self) -> bool {
        matches!(self, Self::Soak | Self::SoakPostgres)
    }
}

/// The parts that a call measures: those asked for, or all, without the soaks when they last no time.
pub(crate) fn chosen(only: &[Part], soak_seconds: u32) -> Result<Vec<Part>> {
    let wanted = |part: &Part| only.is_empty() || only.contains(part);
    let lasts = |part: &Part| !part.is_soak() || soak_seconds > 0;
    let all = Part::value_variants().iter().copied();
    let parts: Vec<Part> = all.filter(wanted).filter(lasts).collect();
    if parts.is_empty() {
        bail!("a soak of no time is all that was asked for");
    }
    Ok(parts)
}

impl Figures {
    /// The figures a call begins with: `kept` ones of earlier calls, if they can stand on one page with
    /// what is measured now.
    ///
    /// # Errors
    /// When they are of another program, another machine or another length.
    pub(crate) fn continued(self, kept: Option<Self>) -> Result<Self> {
        let Some(kept) = kept else { return Ok(self) };
        let (old, new) = (&kept.machine, &self.machine);
        let differs = [
            ("version", old.version != new.version),
            ("program", old.fingerprint != new.fingerprint),
            ("build", old.build != new.build),
            ("machine", old != new),
            ("--quick", kept.quick != self.quick),
            ("seconds a measurement", kept.seconds != self.seconds),
        ];
        if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
            bail!(
                "the kept figures are of another {what}: {old:?}, now {new:?}; measure everything, without --only, or move them away"
            );
        }
        Ok(kept)
    }

    /// Drops what is known of a part.
    pub(crate) fn forget(&mut self, part: Part) {
        let name = part.kind().name();
        if part.is_soak() {
            self.soak.retain(|soak| soak.scene != name);
            return;
        }
        self.runs.retain(|run| run.scene != name);
        self.half.retain(|half| half.scene != name);
        self.flood.retain(|flood| flood.scene != name);
    }

    /// Brings everything into the order of the page, whatever was measured first.
    pub(crate) fn sort(&mut self) {
        let place = |name: &str| Kind::ALL.iter().position(|kind| kind.name() == name);
        self.runs.sort_by_key(|run| place(&run.scene));
        self.half.sort_by_key(|half| place(&half.scene));
        self.flood.sort_by_key(|flood| place(&flood.scene));
        self.soak.sort_by_key(|soak| place(&soak.scene));
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Machine, Run};
    use super::super::soak::Soak;
    use super::*;

    /// SQLite, its soak and two nodes out of the file, PostgreSQL beside.
    fn sample() -> Figures {
        let mut figures: Figures = serde_json::from_str(include_str!("sample.json")).unwrap();
        figures.runs.push(Run {
            scene: "PostgreSQL".to_owned(),
            ..Run::default()
        });
        figures
    }

    fn counts(figures: &Figures) -> [usize; 4] {
        let Figures {
            runs,
            half,
            flood,
            soak,
            ..
        } = figures;
        [runs.len(), half.len(), flood.len(), soak.len()]
    }

    #[test]
    fn a_part_measured_again_leaves_the_others() {
        fn check(part: Part, expected: [usize; 4]) {
            let mut figures = sample();
            figures.forget(part);
            assert_eq!(counts(&figures), expected, "{part:?}");
        }
        assert_eq!(counts(&sample()), [4, 1, 1, 1]);
        check(Part::Sqlite, [2, 0, 0, 1]);
        check(Part::Postgres, [3, 1, 1, 1]);
        check(Part::TwoNodes, [3, 1, 1, 1]);
        check(Part::Soak, [4, 1, 1, 0]);
        check(Part::SoakPostgres, [4, 1, 1, 1]);
    }

    #[test]
    fn only_figures_of_the_same_program_and_machine_come_together() {
        fn check(change: impl Fn(&mut Figures), good: bool) {
            let mut kept = sample();
            change(&mut kept);
            let now = Figures {
                runs: Vec::new(),
                ..sample()
            };
            let both = now.continued(Some(kept));
            assert_eq!(both.is_ok(), good, "{both:?}");
            assert!(both.is_err() || both.unwrap().runs.len() == 4);
        }
        check(|_| {}, true);
        check(|kept| kept.machine.version = "0.0.9".to_owned(), false);
        check(|kept| kept.machine.fingerprint = "ab".to_owned(), false);
        check(|kept| kept.machine.cores = 64, false);
        check(|kept| kept.quick = true, false);
        check(|kept| kept.seconds = 1, false);
        let none = Figures::default().continued(None).unwrap();
        assert!(none.runs.is_empty() && none.machine == Machine::default());
    }

    #[test]
    fn the_order_of_the_calls_does_not_show() {
        let run = |kind: Kind, connections| Run {
            scene: kind.name().to_owned(),
            connections,
            ..Run::default()
        };
        let mut figures = Figures {
            runs: vec![
                run(Kind::TwoNodes, 1),
                run(Kind::Postgres, 2),
                run(Kind::Postgres, 1),
                run(Kind::Sqlite, 4),
            ],
            soak: [Kind::Postgres, Kind::Sqlite]
                .map(|kind| Soak {
                    scene: kind.name().to_owned(),
                    ..Soak::default()
                })
                .into(),
            ..Figures::default()
        };
        figures.sort();
        let order: Vec<u32> = figures.runs.iter().map(|run| run.connections).collect();
        assert_eq!(order, [4, 2, 1, 1], "and within a database as measured");
        assert_eq!(figures.soak[0].scene, "SQLite");
    }

    #[test]
    fn a_soak_of_no_time_is_left_out() {
        use Part::{Postgres, Soak, SoakPostgres, Sqlite, TwoNodes};
        let check = |only: &[Part], seconds, expected: &[Part]| {
            assert_eq!(chosen(only, seconds).unwrap(), expected, "{only:?}");
        };
        check(&[], 60, &[Sqlite, Postgres, TwoNodes, Soak, SoakPostgres]);
        check(&[], 0, &[Sqlite, Postgres, TwoNodes]);
        check(&[Soak, Sqlite], 60, &[Sqlite, Soak]);
        assert!(chosen(&[Soak], 0).is_err());
    }
}
