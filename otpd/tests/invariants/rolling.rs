//! Two nodes behind a load balancer, restarted one after the other under load: no request fails.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::surroundings::{RaiseAtEnd, length, let_pass, now, until};
use crate::harness::{ADMIN_KEY, Client, Database, Device, Engine, Node};

/// Clients at the same time: a few, and in the full run so many that two nodes answer no
/// more when there are more of them.
const CLIENTS: [usize; 2] = [16, 96];

/// The part of what both nodes carry that they carry while they are restarted.
const LOAD: f64 = 0.7;

/// How often a client that waits for its next turn looks whether all is over.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 3] {
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let all = [free(), free(), free()];
    all.map(|listener| listener.local_addr().expect("an address").port())
}

/// A running load balancer; dropping it kills it.
struct Balancer {
    process: Child,
    address: String,
}

impl Balancer {
    /// One that asks the nodes five times a second whether they are ready.
    fn start(folder: &Path, port: u16, nodes: [u16; 2]) -> Self {
        let [one, two] = nodes;
        let config = format!(
            "defaults
               mode http
               timeout connect 2s
               timeout client 20s
               timeout server 20s
               timeout check 2s
               option redispatch
             frontend all
               bind 127.0.0.1:{port}
               default_backend nodes
             backend nodes
               balance roundrobin
               option httpchk GET /readyz
               http-check expect status 200
               default-server check inter 200ms fall 1 rise 1
               server one 127.0.0.1:{one}
               server two 127.0.0.1:{two}
"
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).expect("a file");
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is missing: run `cargo xtask test`, which installs it");
        let address = format!("127.0.0.1:{port}");
        let balancer = Self { process, address };
        let mut client = balancer.client();
        let serves = until(Duration::from_secs(10), || {
            let answer = client.send("GET", "/readyz", None).ok()?;
            (answer.status == 200).then_some(())
        });
        assert!(serves.is_some(), "the load balancer finds no node");
        balancer
    }

    fn client(&self) -> Client {
        Client::new(&self.address, Some(ADMIN_KEY))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A user behind the load balancer, with a device that counts.
struct Walker {
    device: Device,
    /// The counter whose code is sent next.
    next: u64,
}

impl Walker {
    /// Sends code after code until told to stop, one at a time and no two closer than
    /// `every` on average: what was late is made up for. Each is accepted at the first try.
    fn walk(&mut self, balancer: &Balancer, start: Instant, every: Duration, over: &AtomicBool) {
        let mut client = balancer.client();
        let mut due = start;
        while !over.load(Ordering::SeqCst) {
            let early = due.saturating_duration_since(now());
            if !early.is_zero() {
                let_pass(early.min(LOOK_UP));
                continue;
            }
            due += every;
            let (id, counter) = (&self.device.id, self.next);
            let question = self.device.question(&self.device.code(counter));
            let answer = client.try_post("/api/v1/otp/verify", &question);
            let answer = answer.unwrap_or_else(|error| panic!("{id}: {counter}: {error}"));
            let said = answer.text();
            assert_eq!(answer.status, 200, "{id}: {counter}: {said}");
            assert_eq!(answer.json()["data"]["valid"], true, "{said}");
            self.next += 1;
        }
    }
}

/// Lets everybody walk, `per_second` codes together or as many as they can, for as long as
/// `act` lasts; how many a second were accepted.
fn drive(
    balancer: &Balancer,
    walkers: &mut [Walker],
    per_second: Option<f64>,
    act: impl FnOnce(),
) -> f64 {
    let clients = walkers.len() as f64;
    let every = per_second.map_or(0.0, |rate| clients / rate);
    let over = &AtomicBool::new(false);
    let sum = |walkers: &[Walker]| -> u64 { walkers.iter().map(|walker| walker.next).sum() };
    let (before, begun) = (sum(walkers), now());
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (place, walker) in walkers.iter_mut().enumerate() {
            // Not all at the same instant.
            let start = begun + Duration::from_secs_f64(every * place as f64 / clients);
            let every = Duration::from_secs_f64(every);
            threads.push(scope.spawn(move || walker.walk(balancer, start, every, over)));
        }
        let end = RaiseAtEnd(over);
        act();
        drop(end);
        for thread in threads {
            thread.join().expect("no failed request");
        }
    });
    (sum(walkers) - before) as f64 / begun.elapsed().as_secs_f64()
}

#[test]
fn a_rolling_restart_behind_a_load_balancer_loses_no_request() {
    let database = Database::new(Engine::Postgres);
    let [door, one, two] = free_ports();
    let node = |name: &str, port: u16| {
        Node::named(&database, name)
            .with("PORT", &port.to_string())
            .with("OTPD_SERVER__LEAVE_SECONDS", "2")
    };
    let plans = [node("one", one), node("two", two)];
    let mut nodes = plans.each_ref().map(|plan| Some(plan.start()));
    let balancer = Balancer::start(database.folder(), door, [one, two]);
    let mut admin = balancer.client();
    let walker = |number: usize| {
        let name = format!("walker-{number}");
        let device = Device::hotp(&mut admin, &name, &name);
        Walker { device, next: 0 }
    };
    let clients = length(CLIENTS[0], CLIENTS[1]);
    let mut walkers: Vec<Walker> = (0..clients).map(walker).collect();
    let measuring = Duration::from_secs(length(1, 10) as u64);
    let most = drive(&balancer, &mut walkers, None, || let_pass(measuring));
    let aim = most * LOAD;
    let rounds = length(1, 10);
    let driven = drive(&balancer, &mut walkers, Some(aim), || {
        for _ in 0..rounds {
            for (place, plan) in plans.iter().enumerate() {
                let_pass(Duration::from_millis(500));
                let_leave(nodes[place].take().expect("a node"));
                nodes[place] = Some(plan.start());
                // The load balancer has to find it again before the other one goes.
                let_pass(Duration::from_secs(1));
            }
        }
    });
    let sent: u64 = walkers.iter().map(|walker| walker.next).sum();
    println!(
        "{most:.0} requests a second measured, {driven:.0} driven ({:.0} %) through {} restarts; \
         {sent} in all, none failed",
        100.0 * driven / most,
        2 * rounds
    );
    // Other tests may have left the machine alone only while it was measured.
    assert!(driven >= aim / 3.0, "hardly any load: {driven} of {aim}");
    let counted = "SELECT COUNT(1) FROM events WHERE action = 'OTP_VERIFICATION' AND success = 1";
    assert_eq!(database.number(counted), i64::try_from(sent).expect("few"));
}

/// Says that it goes before it goes.
fn let_leave(node: crate::harness::Server) {
    crate::harness::server::signal("TERM", node.pid());
    let mut stranger = node.stranger();
    let said = until(Duration::from_secs(1), || {
        let answer = stranger.send("GET", "/readyz", None).ok()?;
        (answer.status == 503).then_some(answer)
    });
    let said = said.expect("still ready a second after SIGTERM");
    assert_eq!(said.header("connection"), Some("close"));
    assert_eq!(node.stranger().get("/livez").status, 200);
    assert!(node.ended().success());
}
