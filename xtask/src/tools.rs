//! The programs that the tests need beside Rust: how each is found and what installs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::postgres;

/// What installs a tool that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A package of Debian and its relatives.
    Apt(&'static str),
    /// One program out of a package of Debian's, unpacked and not installed: the package would also
    /// make an account and start a service, which nobody wants who runs tests. Package and path.
    Unpacked(&'static str, &'static str),
    /// A Python package, put into an environment of this repository's own.
    Pip(&'static str),
}

/// How a tool shows that it is there.
enum Probe {
    /// This command ends well.
    Runs(&'static [&'static str]),
    /// PostgreSQL's server programs; they usually stand outside `PATH`.
    Postgres,
}

struct Tool {
    name: &'static str,
    probe: Probe,
    source: Source,
}

const POSTGRES: Tool = Tool {
    name: "PostgreSQL",
    probe: Probe::Postgres,
    source: Source::Apt("postgresql"),
};

/// Everything the tests call, PostgreSQL apart.
const TOOLS: [Tool; 16] = [
    // Needed with a TEST_REDIS_URL too: some tests stop, freeze and flush a server of their own.
    Tool {
        name: "Redis or Valkey",
        probe: Probe::Runs(&[
            "sh",
            "-c",
            "command -v redis-server || command -v valkey-server",
        ]),
        source: Source::Apt("redis-server"),
    },
    Tool {
        name: "oathtool",
        probe: Probe::Runs(&["oathtool", "--version"]),
        source: Source::Apt("oathtool"),
    },
    Tool {
        name: "strace",
        probe: Probe::Runs(&["strace", "--version"]),
        source: Source::Apt("strace"),
    },
    Tool {
        name: "libfaketime",
        probe: Probe::Runs(&["faketime", "--version"]),
        source: Source::Apt("faketime"),
    },
    Tool {
        name: "HAProxy",
        probe: Probe::Runs(&["haproxy", "-v"]),
        source: Source::Apt("haproxy"),
    },
    Tool {
        name: "ip",
        probe: Probe::Runs(&["ip", "-V"]),
        source: Source::Apt("iproute2"),
    },
    Tool {
        name: "zbarimg",
        probe: Probe::Runs(&["zbarimg", "--version"]),
        source: Source::Apt("zbar-tools"),
    },
    Tool {
        name: "promtool",
        probe: Probe::Runs(&["promtool", "--version"]),
        source: Source::Unpacked("prometheus", "usr/bin/promtool"),
    },
    Tool {
        name: "curl",
        probe: Probe::Runs(&["curl", "--version"]),
        source: Source::Apt("curl"),
    },
    Tool {
        name: "Node.js",
        probe: Probe::Runs(&["node", "--version"]),
        source: Source::Apt("nodejs"),
    },
    Tool {
        name: "python3",
        probe: Probe::Runs(&["python3", "--version"]),
        source: Source::Apt("python3"),
    },
    Tool {
        name: "PyOTP",
        probe: Probe::Runs(&["python3", "-c", "import pyotp"]),
        source: Source::Pip("pyotp==2.12.0"),
    },
    Tool {
        name: "PyJWT",
        probe: Probe::Runs(&["python3", "-c", "import jwt"]),
        source: Source::Pip("pyjwt==2.15.1"),
    },
    Tool {
        name: "cryptography",
        probe: Probe::Runs(&["python3", "-c", "import cryptography"]),
        source: Source::Pip("cryptography==50.0.2"),
    },
    Tool {
        name: "aiosmtpd",
        probe: Probe::Runs(&["python3", "-c", "import aiosmtpd"]),
        source: Source::Pip("aiosmtpd==1.4.6"),
    },
    Tool {
        name: "schemathesis",
        probe: Probe::Runs(&["schemathesis", "--version"]),
        source: Source::Pip("schemathesis==4.32.5"),
    },
];

/// What has to be installed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    apt: Vec<&'static str>,
    pip: Vec<&'static str>,
    unpacked: Vec<(&'static str, &'static str)>,
}

impl Plan {
    fn of(sources: &[Source], venv_works: bool) -> Self {
        let mut plan = Self::default();
        for source in sources {
            match source {
                Source::Apt(package) => plan.apt.push(package),
                Source::Unpacked(package, path) => plan.unpacked.push((package, path)),
                // The environment's python3 hides the machine's, so it gets every package, not just this one.
                Source::Pip(_) => plan.pip = python_packages(),
            }
        }
        if !plan.pip.is_empty() && !venv_works {
            plan.apt.push("python3-venv");
        }
        plan
    }

    /// One line for a shell that does what is missing.
    fn command(&self, environment: &Path) -> String {
        let folder = environment.display();
        let mut parts = Vec::new();
        if !self.apt.is_empty() {
            let packages = self.apt.join(" ");
            parts.push("sudo apt-get update".to_string());
            parts.push(format!(
                "sudo apt-get install -y --no-install-recommends {packages}"
            ));
        }
        if !self.pip.is_empty() {
            let packages = self.pip.join(" ");
            parts.push(format!("python3 -m venv '{folder}'"));
            parts.push(format!("'{folder}/bin/pip' install {packages}"));
        }
        for (package, path) in &self.unpacked {
            parts.push(unpacking(package, path, environment));
        }
        parts.join(" && ")
    }
}

/// For a shell: puts one program of a package into the environment's folder of programs. The lists of
/// packages are fetched where that is allowed and otherwise are those that are there.
fn unpacking(package: &str, path: &str, environment: &Path) -> String {
    let folder = environment.display();
    format!(
        "(mkdir -p '{folder}/bin' && cd '{folder}' && {{ apt-get update || true; }} \
         && rm -f {package}_*.deb && apt-get download {package} \
         && dpkg-deb -x {package}_*.deb {package} && cp {package}/{path} bin/)"
    )
}

/// Finds or installs everything the tests call; PostgreSQL only if `with_postgres`.
///
/// Returns the `PATH` under which all of it is found.
pub(crate) fn ensure(root: &Path, with_postgres: bool) -> Result<OsString> {
    let environment = root.join("target").join("test-tools");
    let path = path_with(&environment.join("bin"))?;
    let wanted = TOOLS.iter().chain(with_postgres.then_some(&POSTGRES));
    install_missing(wanted, &environment, &path)?;
    Ok(path)
}

/// Finds or installs PostgreSQL alone.
pub(crate) fn ensure_postgres() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    install_missing([&POSTGRES].into_iter(), Path::new(""), &path)
}

fn python_packages() -> Vec<&'static str> {
    let package = |tool: &Tool| match tool.source {
        Source::Pip(package) => Some(package),
        Source::Apt(_) | Source::Unpacked(..) => None,
    };
    TOOLS.iter().filter_map(package).collect()
}

fn install_missing<'a>(
    tools: impl Iterator<Item = &'a Tool> + Clone,
    environment: &Path,
    path: &OsString,
) -> Result<()> {
    let missing: Vec<&Tool> = tools.clone().filter(|tool| !is_there(tool, path)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let sources: Vec<Source> = missing.iter().map(|tool| tool.source).collect();
    let venv_works = succeeds(&["python3", "-c", "import ensurepip, venv"], path);
    let plan = Plan::of(&sources, venv_works);
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    println!("missing: {}", names.join(", "));
    let may_install = is_root() && succeeds(&["apt-get", "--version"], path);
    if !plan.apt.is_empty() && !may_install {
        bail!(
            "the tests need {}; on Debian and its relatives this installs all of it:\n{}",
            names.join(", "),
            plan.command(environment)
        );
    }
    let installed = install(&plan, environment, path);
    let still: Vec<&str> = tools
        .filter(|tool| !is_there(tool, path))
        .map(|tool| tool.name)
        .collect();
    match installed {
        Ok(()) if still.is_empty() => Ok(()),
        // A package whose service could not be set up has brought its program all the same.
        Err(error) if still.is_empty() => {
            println!("going on, since all of it is there now: {error:#}");
            Ok(())
        }
        Ok(()) => bail!("installed, and still not found: {}", still.join(", ")),
        Err(error) => Err(error.context(format!("not found: {}", still.join(", ")))),
    }
}

fn install(plan: &Plan, environment: &Path, path: &OsString) -> Result<()> {
    if !plan.apt.is_empty() {
        run(Command::new("apt-get").arg("update"), path)?;
        run(
            Command::new("apt-get")
                .args(["install", "-y", "--no-install-recommends"])
                .args(&plan.apt)
                .env("DEBIAN_FRONTEND", "noninteractive"),
            path,
        )?;
    }
    if !plan.pip.is_empty() {
        run(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(environment),
            path,
        )?;
        run(
            Command::new(environment.join("bin").join("python3"))
                .args(["-m", "pip", "install", "--disable-pip-version-check"])
                .args(&plan.pip),
            path,
        )?;
    }
    for (program, file) in &plan.unpacked {
        let script = unpacking(program, file, environment);
        run(Command::new("sh").args(["-c", &script]), path)?;
    }
    Ok(())
}

fn run(command: &mut Command, path: &OsString) -> Result<()> {
    println!("{command:?}");
    let status = command.env("PATH", path).status()?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

fn is_there(tool: &Tool, path: &OsString) -> bool {
    match tool.probe {
        Probe::Runs(words) => succeeds(words, path),
        Probe::Postgres => postgres::programs().is_some(),
    }
}

fn succeeds(words: &[&str], path: &OsString) -> bool {
    // `env` looks the program up in the PATH it is given; a direct start may use the one of this process.
    Command::new("env")
        .args(words)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a program prints, trimmed; nothing if it fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    output("id", &["-u"]).as_deref() == Some("0")
}

fn path_with(first: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::iter::once(first.to_path_buf())
        .chain(std::env::split_paths(&path))
        // Where Debian keeps HAProxy and `ip`, and which only root has in its path.
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .collect();
    Ok(std::env::join_paths(folders)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sources: &[Source], venv_works: bool, command: &str) {
        let plan = Plan::of(sources, venv_works);
        assert_eq!(plan.command(Path::new("e")), command, "{sources:?}");
    }

    #[test]
    fn one_command_installs_what_is_missing() {
        let apt = "sudo apt-get update && sudo apt-get install -y --no-install-recommends";
        let packages = python_packages().join(" ");
        let pip = format!("python3 -m venv 'e' && 'e/bin/pip' install {packages}");
        check(&[], true, "");
        check(
            &[Source::Apt("a"), Source::Apt("b")],
            false,
            &format!("{apt} a b"),
        );
        check(&[Source::Pip("p"), Source::Pip("q")], true, &pip);
        check(
            &[Source::Unpacked("u", "usr/bin/v")],
            true,
            "(mkdir -p 'e/bin' && cd 'e' && { apt-get update || true; } && rm -f u_*.deb \
             && apt-get download u && dpkg-deb -x u_*.deb u && cp u/usr/bin/v bin/)",
        );
        check(
            &[Source::Apt("a"), Source::Pip("p")],
            false,
            &format!("{apt} a python3-venv && {pip}"),
        );
    }
}
