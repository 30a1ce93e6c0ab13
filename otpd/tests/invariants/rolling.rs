//! Two nodes behind a load balancer, restarted one after the other under load: no request fails.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::surroundings::{RaiseAtEnd, length, let_pass, until};
use crate::harness::{ADMIN_KEY, Client, Database, Device, Engine, Node};

const CLIENTS: usize = 6;

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

/// Sends code after code until told to stop; each is accepted at the first try.
fn walk(balancer: &Balancer, device: &Device, over: &AtomicBool) -> u64 {
    let mut client = balancer.client();
    let mut counter = 0;
    while !over.load(Ordering::SeqCst) {
        let question = device.question(&device.code(counter));
        let answer = client.try_post("/api/v1/otp/verify", &question);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {counter}: {error}", device.id));
        let said = answer.text();
        assert_eq!(answer.status, 200, "{}: {counter}: {said}", device.id);
        assert_eq!(answer.json()["data"]["valid"], true, "{said}");
        counter += 1;
    }
    counter
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
    let device = |number: usize| {
        let name = format!("walker-{number}");
        Device::hotp(&mut admin, &name, &name)
    };
    let devices: Vec<Device> = (0..CLIENTS).map(device).collect();
    let over = &AtomicBool::new(false);
    let sent: u64 = std::thread::scope(|scope| {
        let walk = |device| {
            let balancer = &balancer;
            scope.spawn(move || walk(balancer, device, over))
        };
        let walkers: Vec<_> = devices.iter().map(walk).collect();
        let end = RaiseAtEnd(over);
        for _ in 0..length(1, 10) {
            for (place, plan) in plans.iter().enumerate() {
                let_pass(Duration::from_millis(500));
                let_leave(nodes[place].take().expect("a node"));
                nodes[place] = Some(plan.start());
                // The load balancer has to find it again before the other one goes.
                let_pass(Duration::from_secs(1));
            }
        }
        drop(end);
        let joined = walkers.into_iter().map(|walker| walker.join());
        joined.map(|sent| sent.expect("no failed request")).sum()
    });
    assert!(sent > 100, "hardly any load: {sent}");
    let counted = "SELECT COUNT(1) FROM events WHERE action = 'OTP_VERIFICATION' AND success = 1";
    assert_eq!(database.number(counted), i64::try_from(sent).expect("few"));
    println!("{sent} requests, none failed");
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
