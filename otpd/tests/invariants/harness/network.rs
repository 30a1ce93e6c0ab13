//! A network between a node and its database that can be cut without a word to either.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::surroundings::let_pass;

/// A network of its own for a node: over one cable its clients come, over another it
/// reaches the database.
pub(crate) struct Namespace {
    name: String,
    /// Bytes of the addresses that are this run's.
    net: u32,
}

/// A cable, named after what goes over it.
const CABLES: [(&str, u8); 2] = [("c", 198), ("d", 199)];

/// A hardware address that nobody has: what is sent there is lost.
const NOBODY: &str = "02:00:00:00:00:99";

impl Namespace {
    /// Makes it, or says why the kernel refuses.
    pub(crate) fn new() -> Result<Self, String> {
        let net = std::process::id() % 250;
        let space = Self {
            name: format!("otpd-{net}"),
            net,
        };
        let name = &space.name;
        ip(&["netns", "add", name])?;
        for (cable, block) in CABLES {
            let (ours, theirs) = (space.end(cable, "o"), space.end(cable, "t"));
            ip(&[
                "link", "add", &ours, "type", "veth", "peer", "name", &theirs,
            ])?;
            ip(&["link", "set", &theirs, "netns", name])?;
            let [here, there] = [1, 2].map(|host| format!("10.{block}.{net}.{host}/30"));
            ip(&["addr", "add", &here, "dev", &ours])?;
            ip(&["link", "set", &ours, "up"])?;
            ip(&["-n", name, "addr", "add", &there, "dev", &theirs])?;
            ip(&["-n", name, "link", "set", &theirs, "up"])?;
        }
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(space)
    }

    fn end(&self, cable: &str, side: &str) -> String {
        format!("otpd{}{cable}{side}", self.net)
    }

    /// Where the node listens.
    pub(crate) fn node_address(&self) -> String {
        format!("10.{}.{}.2", CABLES[0].1, self.net)
    }

    /// Where the database listens.
    pub(crate) fn database_address(&self) -> String {
        format!("10.{}.{}.1", CABLES[1].1, self.net)
    }

    /// The words that start a program in here.
    pub(crate) fn words(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Has both ends of the database's cable send to nobody.
    fn cut(&self) {
        let (block, net) = (CABLES[1].1, self.net);
        let (ours, theirs) = (self.end("d", "o"), self.end("d", "t"));
        let here = format!("10.{block}.{net}.2");
        let there = format!("10.{block}.{net}.1");
        let lost = ["lladdr", NOBODY, "nud", "permanent", "dev"];
        must(&[&["neigh", "replace", &here], &lost[..], &[&ours]].concat());
        let inside = ["-n", &self.name, "neigh", "replace", &there];
        must(&[&inside, &lost[..], &[&theirs]].concat());
    }

    fn mend(&self) {
        let (ours, theirs) = (self.end("d", "o"), self.end("d", "t"));
        must(&["neigh", "flush", "dev", &ours, "nud", "permanent"]);
        let name = &self.name;
        must(&[
            "-n",
            name,
            "neigh",
            "flush",
            "dev",
            &theirs,
            "nud",
            "permanent",
        ]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for (cable, _) in CABLES {
            // The other end goes with it. What was never made cannot be removed.
            let _ = ip(&["link", "del", &self.end(cable, "o")]);
        }
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", words.join(" "), said.trim())),
    }
}

#[track_caller]
fn must(words: &[&str]) {
    ip(words).expect("it worked before");
}

/// Carries a port's traffic to a server; cut, it holds everything back.
pub(crate) struct Relay {
    /// On 127.0.0.1.
    pub port: u16,
    holds: Arc<AtomicBool>,
}

impl Relay {
    /// Leads to that port of 127.0.0.1.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let holds = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&holds);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let held = Arc::clone(&held);
                std::thread::spawn(move || {
                    while held.load(Ordering::SeqCst) {
                        let_pass(Duration::from_millis(20));
                    }
                    let server = TcpStream::connect(("127.0.0.1", server));
                    if let Ok(server) = server {
                        carry_both(&client, &server, &held);
                    }
                });
            }
        });
        Self { port, holds }
    }
}

fn carry_both(client: &TcpStream, server: &TcpStream, held: &Arc<AtomicBool>) {
    std::thread::scope(|scope| {
        scope.spawn(|| carry(client, server, held));
        carry(server, client, held);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, held: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while held.load(Ordering::SeqCst) {
            let_pass(Duration::from_millis(20));
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other direction ends too; one that has ended already needs no end.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// What the machine permits.
pub(crate) enum Network {
    /// Packets are lost, as on a real network.
    Namespace(Namespace),
    /// Bytes are held back.
    Relay(Relay),
}

impl Network {
    /// Nothing gets through until the value is dropped.
    pub(crate) fn cut(&self) -> Cut<'_> {
        match self {
            Self::Namespace(space) => space.cut(),
            Self::Relay(relay) => relay.holds.store(true, Ordering::SeqCst),
        }
        Cut(self)
    }
}

/// A cut network; dropped, it is mended.
pub(crate) struct Cut<'a>(&'a Network);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        match self.0 {
            Network::Namespace(space) => space.mend(),
            Network::Relay(relay) => relay.holds.store(false, Ordering::SeqCst),
        }
    }
}
