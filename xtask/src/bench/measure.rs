//! The measurements of one call, part by part.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::driver::{Order, drive, drive_beside, pgbench};
use super::figures::{After, Figures, Flood, Half, Run};
use super::parts::Part;
use super::scene::{Kind, Scene, bare_handler};
use super::soak::{Sample, Soak};
use crate::postgres::Postgres;

/// Connections under ten times the load: as many as the server's queue holds comfortably.
const FLOOD_CONNECTIONS: u32 = 2560;

/// Length of a code's step.
const STEP: Duration = Duration::from_secs(30);

/// After so long a device takes three codes again, whatever it took before. The last one was at most of
/// the step after its present one: three steps later that is before the server's window.
const ALL_NEW: Duration = Duration::from_secs(3 * STEP.as_secs() + 1);

/// Into a step, at most so far, a flood is started. It ends as far into one, a whole number of steps
/// later, and what is driven after it need not wait for the next: near a step's end the driver waits.
const EARLY_IN_STEP: Duration = Duration::from_secs(5);

/// How much is measured.
pub(crate) struct Extent {
    pub(crate) connections: &'static [u32],
    /// Devices driven in a run, and all that are stored in its database.
    few: u32,
    /// Devices stored in a large database; none for no large one.
    many: Option<u32>,
    /// Devices driven at ten times the load, of twice as many stored.
    flood: u32,
    flood_seconds: u32,
    /// Short runs after it, and their length.
    after: u32,
    after_seconds: u32,
    /// Verifications per second for which the devices of a soak suffice.
    soak_rate: u32,
    /// Length of a soak, unless the caller says another.
    pub(crate) soak_seconds: u32,
    pub(crate) seconds: u32,
}

pub(crate) const FULL: Extent = Extent {
    connections: &[1, 16, 64, 256],
    few: 60_000,
    many: Some(1_000_000),
    // For 33,333 answers a second.
    flood: 500_000,
    flood_seconds: 60,
    after: 8,
    after_seconds: 2,
    soak_rate: 30_000,
    soak_seconds: 600,
    seconds: 6,
};

pub(crate) const QUICK: Extent = Extent {
    connections: &[16],
    few: 6_000,
    many: None,
    flood: 10_000,
    flood_seconds: 1,
    after: 2,
    after_seconds: 1,
    soak_rate: 12_000,
    soak_seconds: 6,
    seconds: 1,
};

impl Extent {
    /// Devices stored for a flood: every second is driven in it, the others after it.
    fn flood_stored(&self) -> u32 {
        self.flood * 2
    }

    /// The first device of each run after a flood, and how many it drives. Runs and flood share none:
    /// the distance of a run's devices is a multiple of two, each run starts at another odd number.
    fn after(&self) -> (impl Iterator<Item = u32> + use<>, u32) {
        let count = self.after;
        let starts = (0..count).map(|run| 2 * run + 1);
        (starts, self.flood_stored() / (2 * count))
    }

    fn usual_connections(&self) -> u32 {
        let usual = self.connections.iter().find(|count| **count == 64);
        usual.or(self.connections.last()).copied().unwrap_or(1)
    }
}

/// A call under way.
pub(crate) struct Bench<'a> {
    pub(crate) program: &'a Path,
    /// There, when a part needs it.
    pub(crate) server: Option<&'a Postgres>,
    pub(crate) extent: &'static Extent,
    pub(crate) soak_seconds: u32,
    pub(crate) databases: u32,
    /// What was kept of earlier calls, and what this one has measured so far.
    pub(crate) figures: Figures,
}

impl Bench<'_> {
    /// Measures one part in place of what was known of it.
    pub(crate) fn measure(&mut self, part: Part) -> Result<()> {
        self.figures.forget(part);
        let kind = part.kind();
        if part.is_soak() {
            return self.soak(kind);
        }
        self.few(kind)?;
        if let Some(many) = self.extent.many {
            self.many(kind, many)?;
        }
        let scene = self.scene(kind, self.extent.few)?;
        self.half(&scene, 0)?;
        drop(scene);
        self.flood(kind)
    }

    /// A database of which every device is driven, made anew for each run so that all codes are unspent.
    fn few(&mut self, kind: Kind) -> Result<()> {
        for &connections in self.extent.connections {
            for order in ["in-turn", "random"] {
                let scene = self.scene(kind, self.extent.few)?;
                self.run(&scene, connections, self.order(order, 0))?;
                drop(scene);
                self.pgbench(kind)?;
            }
        }
        Ok(())
    }

    /// A large database, of which each run drives other devices: one after the other, of which each has
    /// its turn once at most, then some that are spread over all. The servers are started anew for each
    /// run, as over the small databases: what they do once a minute, over whatever the run before has
    /// left, is measured by the soak.
    fn many(&mut self, kind: Kind, many: u32) -> Result<()> {
        let mut scene = self.scene(kind, many)?;
        let connections = self.extent.connections;
        let part = many / connections.len() as u32;
        for (place, &connections) in (0..).zip(connections) {
            let neighbours = Order {
                devices: part,
                ..self.order("in-turn", place * part)
            };
            self.run(&scene, connections, neighbours)?;
            scene.start_anew(self.program)?;
        }
        // Those that follow are among them.
        std::thread::sleep(ALL_NEW);
        let mut offset = 0;
        for &connections in connections {
            for order in ["spread", "random"] {
                self.run(&scene, connections, self.order(order, offset))?;
                offset += 1;
                scene.start_anew(self.program)?;
            }
        }
        self.half(&scene, offset)
    }

    /// Ten times the load, and at once after it half the load over the same servers.
    fn flood(&mut self, kind: Kind) -> Result<()> {
        // What a database as large as this one, used like it, was measured to carry.
        let rated = self.reached(kind, self.extent.many.unwrap_or(self.extent.few));
        let scene = self.scene(kind, self.extent.flood_stored())?;
        let asked = rated * 10;
        let seconds = self.extent.flood_seconds;
        let order = Order {
            connections: FLOOD_CONNECTIONS.min(self.extent.flood),
            devices: self.extent.flood,
            seconds,
            rate: Some(asked.clamp(1, 1_000_000)),
            watch: true,
            ..self.order("spread", 0)
        };
        wait_for_step()?;
        let answer = drive(self.program, &scene, &order)?;
        let ended = Instant::now();
        let mut flood = Flood::read(kind.name(), &answer, asked)?;
        flood.seconds = seconds;
        flood.rss_kib = scene.resident_kib();
        // The driver may have waited for the last answers.
        let overtime = Duration::from_secs_f64((flood.lasted - f64::from(seconds)).max(0.0));
        flood.after = self.after(&scene, ended - overtime, rated)?;
        println!("{flood:?}");
        self.figures.flood.push(flood);
        Ok(())
    }

    /// Half the load for moments, one after the other, since the flood `ended`.
    fn after(&self, scene: &Scene, ended: Instant, rated: u32) -> Result<Vec<After>> {
        let rate = (rated / 2).max(1);
        let (starts, devices) = self.extent.after();
        let runs = starts.map(|offset| {
            let order = Order {
                devices,
                seconds: self.extent.after_seconds,
                rate: Some(rate),
                ..self.order("spread", offset)
            };
            let answer = drive(self.program, scene, &order)?;
            let half = Half::read(scene.kind.name(), &answer, rate)?;
            After::new(half, &answer, ended.elapsed().as_secs_f64())
        });
        runs.collect()
    }

    /// Full speed for minutes, with a look at the server every few seconds.
    fn soak(&mut self, kind: Kind) -> Result<()> {
        let seconds = self.soak_seconds;
        let devices = devices_needed(self.extent.soak_rate, seconds);
        let scene = self.scene(kind, devices)?;
        let order = Order {
            devices,
            seconds,
            ..self.order("in-turn", 0)
        };
        let began = Instant::now();
        let mut samples = Vec::new();
        let spacing = Duration::from_secs((seconds / 120).clamp(1, 5).into());
        let answer = drive_beside(self.program, &scene, &order, spacing, || {
            samples.push(Sample {
                descriptors: scene.descriptors()?,
                rss_kib: scene.resident_kib(),
                bytes: scene.stored_bytes(self.server)?,
                verifications: scene.verifications()?,
                seconds: began.elapsed().as_secs_f64(),
            });
            Ok(())
        })?;
        let run = Run::read(kind.name(), &answer, scene.resident_kib())?;
        println!("{run:?}");
        self.figures.soak.push(Soak::new(run, seconds, samples));
        Ok(())
    }

    fn run(&mut self, scene: &Scene, connections: u32, order: Order<'_>) -> Result<()> {
        let (_bare, url) = bare_handler(self.program, scene.kind)?;
        let updates = self.server.map(Postgres::url);
        let order = Order {
            connections,
            bare: Some(&url),
            updates: updates.as_deref().filter(|_| scene.kind != Kind::Sqlite),
            ..order
        };
        let answer = drive(self.program, scene, &order)?;
        let run = Run::read(scene.kind.name(), &answer, scene.resident_kib())?;
        println!("{run:?}");
        self.figures.runs.push(run);
        Ok(())
    }

    /// What pgbench does on this machine in the same minute, kept with the last run: afterwards,
    /// since it leaves the server something to clean up, and when the nodes have gone, which
    /// would go on proving and indexing what the run has left.
    fn pgbench(&mut self, kind: Kind) -> Result<()> {
        if kind != Kind::Postgres {
            return Ok(());
        }
        let server = self.server.context("no PostgreSQL runs")?;
        let per_second = pgbench(server, self.extent.seconds)?;
        println!("pgbench: {per_second:.0}");
        let run = self.figures.runs.last_mut().context("no run came before")?;
        run.pgbench = Some(per_second);
        Ok(())
    }

    fn half(&mut self, scene: &Scene, offset: u32) -> Result<()> {
        let rate = (self.reached(scene.kind, scene.stored) / 2).max(1);
        let order = Order {
            rate: Some(rate),
            ..self.order("spread", offset)
        };
        let answer = drive(self.program, scene, &order)?;
        let half = Half::read(scene.kind.name(), &answer, rate)?;
        println!("{half:?}");
        self.figures.half.push(half);
        Ok(())
    }

    /// Verifications per second over a database of that size at 64 connections or the most there were:
    /// of all devices one after the other where all are driven, else of some spread over all.
    fn reached(&self, kind: Kind, stored: u32) -> u32 {
        let connections = self.extent.usual_connections();
        let order = match stored == self.extent.few {
            true => "in_turn",
            false => "spread",
        };
        let run = self.figures.runs.iter().find(|run| {
            run.scene == kind.name()
                && run.stored == stored
                && run.connections == connections
                && run.order == order
        });
        run.map_or(0.0, |run| run.per_second) as u32
    }

    fn order<'a>(&self, order: &'a str, offset: u32) -> Order<'a> {
        Order {
            connections: self.extent.usual_connections(),
            devices: self.extent.few,
            offset,
            order,
            seconds: self.extent.seconds,
            rate: None,
            watch: false,
            bare: None,
            updates: None,
        }
    }

    fn scene(&mut self, kind: Kind, stored: u32) -> Result<Scene> {
        self.databases += 1;
        let name = format!("bench_{}", self.databases);
        Scene::set_up(self.program, kind, self.server, stored, &name)
    }
}

/// Waits until a step of the clock is young.
fn wait_for_step() -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let into = Duration::from_millis((since.as_millis() % STEP.as_millis()) as u64);
    if into > EARLY_IN_STEP {
        std::thread::sleep(STEP - into);
    }
    Ok(())
}

/// Devices that suffice for so many verifications per second: each gives three at once, one of which it
/// may lose when a step ends, and one more with each step (as `otpd bench` reckons).
fn devices_needed(rate: u32, seconds: u32) -> u32 {
    let each = 2 + (seconds / 30).max(1);
    (rate * seconds).div_ceil(each)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_driven_after_a_flood_has_its_codes_unspent() {
        for extent in [FULL, QUICK] {
            let stored = extent.flood_stored();
            let mut used: HashSet<u32> = (0..extent.flood).map(|n| n * 2).collect();
            let (starts, devices) = extent.after();
            let distance = stored / devices;
            assert_eq!(distance * devices, stored, "the distances are even");
            for start in starts {
                for device in (0..devices).map(|n| n * distance + start) {
                    assert!(device < stored && used.insert(device), "{device} again");
                }
            }
        }
    }

    #[test]
    fn no_two_runs_over_many_devices_share_one() {
        let (many, runs) = (FULL.many.unwrap(), FULL.connections.len() as u32);
        // Those that are spread: two for each count of connections, and half the load.
        assert!(2 * runs < many / FULL.few);
        // Neighbours: each has its turn once at most.
        assert!(many / runs >= 40_000 * FULL.seconds);
    }

    #[test]
    fn the_devices_of_the_full_table_suffice() {
        let check = |rate, seconds, devices| assert_eq!(devices_needed(rate, seconds), devices);
        check(30_000, 60, 450_000);
        check(25_000, 600, 681_819);
        check(10, 1, 4);
        assert!(devices_needed(30_000, FULL.flood_seconds) <= FULL.flood);
        assert!(
            devices_needed(FULL.soak_rate, FULL.soak_seconds) > 681_819,
            "room above 25,000 a second"
        );
        let (_, devices) = FULL.after();
        assert!(devices_needed(15_000, FULL.after_seconds) <= devices);
    }
}
