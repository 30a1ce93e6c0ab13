//! `cargo xtask bench`: measures otpd over each database and writes what it found into docs/performance.md.

mod chart;
mod driver;
mod figures;
mod page;
mod scene;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::postgres::Postgres;
use crate::tools;
use driver::{Order, drive, pgbench};
use figures::{Figures, Flood, Half, Machine, Run};
use scene::{Kind, Scene, bare_handler};

/// After so long every device can give three acceptances again: three steps of 30 s, and the margins.
const CODES_AFRESH: Duration = Duration::from_secs(95);

/// Connections under ten times the load: as many as the server's queue holds comfortably.
const FLOOD_CONNECTIONS: u32 = 2560;

/// `cargo xtask bench`
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// A short check that everything works; its figures are not written into docs/performance.md.
    #[arg(long)]
    quick: bool,
    /// Measure this otpd instead of building one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Write the page and the chart again from the figures of an earlier call.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "program"])]
    from: Option<PathBuf>,
}

/// How much is measured.
struct Extent {
    connections: &'static [u32],
    /// Devices driven in a run, and all that are stored in its database.
    few: u32,
    /// Devices stored in a large database; none for no large one.
    many: Option<u32>,
    flood: u32,
    seconds: u32,
}

const FULL: Extent = Extent {
    connections: &[1, 16, 64, 256],
    few: 60_000,
    many: Some(1_000_000),
    flood: 300_000,
    seconds: 6,
};

const QUICK: Extent = Extent {
    connections: &[16],
    few: 6_000,
    many: None,
    flood: 6_000,
    seconds: 1,
};

/// Measures, keeps the figures in `target/bench/figures.json`, and writes the page.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<bool> {
    let kept = root.join("target/bench/figures.json");
    let figures: Figures = match &args.from {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text)?
        }
        None => {
            let figures = measure(root, args)?;
            std::fs::create_dir_all(root.join("target/bench"))?;
            std::fs::write(&kept, serde_json::to_string_pretty(&figures)?)?;
            println!("kept in {}", kept.display());
            figures
        }
    };
    let part = page::part(&figures);
    if figures.quick {
        println!("\n{part}");
        return Ok(true);
    }
    let file = root.join("docs/performance.md");
    let old = std::fs::read_to_string(&file).context("docs/performance.md cannot be read")?;
    std::fs::write(&file, page::exchange(&old, &part)?)?;
    std::fs::write(root.join("docs/performance.svg"), chart::svg(&figures))?;
    println!("wrote docs/performance.md and docs/performance.svg");
    Ok(true)
}

fn measure(root: &Path, args: &BenchArgs) -> Result<Figures> {
    tools::ensure_postgres()?;
    let program = match &args.program {
        Some(program) => program.canonicalize()?,
        None => built(root)?,
    };
    let extent = if args.quick { &QUICK } else { &FULL };
    let server = Postgres::start_on_disk()?;
    let mut bench = Bench {
        program: &program,
        server: &server,
        extent,
        databases: 0,
        figures: Figures {
            machine: Machine {
                build: match args.program {
                    Some(_) => "a program that was given".to_owned(),
                    None => "release build".to_owned(),
                },
                ..machine(&program)
            },
            quick: args.quick,
            seconds: extent.seconds,
            ..Figures::default()
        },
    };
    bench.figures.pgbench = Some(pgbench(&server, extent.seconds)?);
    for kind in Kind::ALL {
        bench.few(kind)?;
        if let Some(many) = extent.many {
            bench.many(kind, many)?;
        }
        bench.paced(kind)?;
    }
    Ok(bench.figures)
}

/// A call under way.
struct Bench<'a> {
    program: &'a Path,
    server: &'a Postgres,
    extent: &'static Extent,
    databases: u32,
    figures: Figures,
}

impl Bench<'_> {
    /// A database of which every device is driven, made anew for each run so that all codes are unspent.
    fn few(&mut self, kind: Kind) -> Result<()> {
        for &connections in self.extent.connections {
            for order in ["in-turn", "random"] {
                let scene = self.scene(kind, self.extent.few)?;
                self.run(&scene, connections, order, 0)?;
            }
        }
        Ok(())
    }

    /// A large database, of which each run drives other devices, spread over all.
    fn many(&mut self, kind: Kind, many: u32) -> Result<()> {
        let scene = self.scene(kind, many)?;
        let mut offset = 0;
        for &connections in self.extent.connections {
            for order in ["in-turn", "random"] {
                self.run(&scene, connections, order, offset)?;
                offset += 1;
            }
        }
        ensure!(offset <= many / self.extent.few, "runs share devices");
        // The devices of the first runs come again.
        std::thread::sleep(CODES_AFRESH);
        self.half(&scene)
    }

    /// Half the load and ten times the load over small databases.
    fn paced(&mut self, kind: Kind) -> Result<()> {
        let scene = self.scene(kind, self.extent.few)?;
        self.half(&scene)?;
        let scene = self.scene(kind, self.extent.flood)?;
        let asked = self.reached(kind) * 10;
        let order = Order {
            connections: FLOOD_CONNECTIONS.min(self.extent.flood),
            devices: self.extent.flood,
            rate: Some(asked.clamp(1, 1_000_000)),
            watch: true,
            ..self.order("in-turn", 0)
        };
        let answer = drive(self.program, &scene, &order)?;
        let flood = Flood::read(kind.name(), &answer, asked)?;
        println!("{flood:?}");
        self.figures.flood.push(flood);
        Ok(())
    }

    fn run(&mut self, scene: &Scene, connections: u32, order: &str, offset: u32) -> Result<()> {
        let (_bare, url) = bare_handler(self.program, scene.kind)?;
        let updates = self.server.url();
        let order = Order {
            connections,
            bare: Some(&url),
            updates: (scene.kind != Kind::Sqlite).then_some(updates.as_str()),
            ..self.order(order, offset)
        };
        let answer = drive(self.program, scene, &order)?;
        let run = Run::read(scene.kind.name(), &answer, scene.resident_kib())?;
        println!("{run:?}");
        self.figures.runs.push(run);
        Ok(())
    }

    fn half(&mut self, scene: &Scene) -> Result<()> {
        let rate = (self.reached(scene.kind) / 2).max(1);
        let order = Order {
            rate: Some(rate),
            ..self.order("random", 0)
        };
        let answer = drive(self.program, scene, &order)?;
        let half = Half::read(scene.kind.name(), &answer, rate)?;
        println!("{half:?}");
        self.figures.half.push(half);
        Ok(())
    }

    /// Verifications per second over a small database in turn, at 64 connections or the most there were.
    fn reached(&self, kind: Kind) -> u32 {
        let connections = self.usual_connections();
        let run = self.figures.runs.iter().find(|run| {
            run.scene == kind.name() && run.connections == connections && run.order == "in_turn"
        });
        run.map_or(0.0, |run| run.per_second) as u32
    }

    fn usual_connections(&self) -> u32 {
        let all = self.extent.connections;
        let usual = all.iter().find(|connections| **connections == 64);
        usual.or(all.last()).copied().unwrap_or(1)
    }

    fn order<'a>(&self, order: &'a str, offset: u32) -> Order<'a> {
        Order {
            connections: self.usual_connections(),
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
        Scene::set_up(self.program, kind, Some(self.server), stored, &name)
    }
}

/// Builds the program as it is released and returns where it is.
fn built(root: &Path) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--package=otpd"])
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(folder.join("release/otpd"))
}

fn machine(program: &Path) -> Machine {
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
    Machine {
        processor: value(&read("/proc/cpuinfo"), "model name", ':'),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib: memory
            .and_then(Result::ok)
            .unwrap_or(0)
            .div_ceil(1024 * 1024),
        system: value(&read("/etc/os-release"), "PRETTY_NAME", '='),
        postgres: said(&pgbench.display().to_string(), false),
        version: said(&program.display().to_string(), true),
        build: String::new(),
    }
}
