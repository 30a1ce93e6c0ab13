//! The shared counters on a real cluster of three nodes: every key finds its node, also when it has moved and when a node is away.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use domain::rate::Rate;
use tempfile::TempDir;

use super::*;

/// Until a cluster has agreed on something, on a busy machine.
const AGREE_LIMIT: Duration = Duration::from_secs(60);
/// The first slot of each node, and the end.
const SHARES: [u16; 4] = [0, 5461, 10_922, 16_384];

/// Runs a node until standard input is closed, which the kernel does when the test ends
/// in any way, then kills it: it has nothing to keep.
const KEEPER: &str = r#"
trap '' HUP INT TERM
program=$(command -v redis-server || command -v valkey-server) || exit 1
"$program" "$@" >>log 2>&1 & server=$!
echo "$server"
read -r _
kill -KILL "$server"
wait "$server"
"#;

struct Node {
    folder: TempDir,
    port: u16,
    /// Where it speaks TLS besides, with clients and with the other nodes.
    tls_port: Option<u16>,
    running: Option<Child>,
}

/// Nodes speak with each other on another port: 10,000 further, in every version.
fn free_ports() -> u16 {
    loop {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

impl Node {
    /// A node with a certificate of its own that is not started yet.
    fn new(tls: bool) -> Self {
        let node = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_ports(),
            tls_port: tls.then(free_ports),
            running: None,
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let mut made = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        // The nodes find each other's certificate by its name.
        let name = format!("node {}", node.port);
        made.distinguished_name = rcgen::DistinguishedName::new();
        made.distinguished_name
            .push(rcgen::DnType::CommonName, name);
        node.write("server.pem", &made.self_signed(&key).unwrap().pem());
        node.write("server.key", &key.serialize_pem());
        node
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn certificate(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.pem")).unwrap()
    }

    async fn start(&mut self) {
        let mut words = format!(
            "--port {} --bind 127.0.0.1 --cluster-enabled yes --cluster-node-timeout 1000 \
             --save  --appendonly no",
            self.port
        );
        if let Some(port) = self.tls_port {
            words += &format!(
                " --tls-port {port} --tls-cluster yes --tls-auth-clients no --tls-cert-file \
                 server.pem --tls-key-file server.key --tls-ca-cert-file others.pem"
            );
        }
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args(words.split(' '))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        let said = keeper.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut pid).unwrap();
        assert!(
            pid.trim().parse::<u32>().is_ok(),
            "redis-server or valkey-server: `cargo xtask test` installs it"
        );
        self.running = Some(keeper);
        let log = || std::fs::read_to_string(self.folder.path().join("log"));
        until(
            || self.try_ask("PING").is_some(),
            || log().unwrap_or_default(),
        )
        .await;
    }

    fn stop(&mut self) {
        if let Some(mut keeper) = self.running.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    fn try_ask(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        let Some(length) = first.strip_prefix('$') else {
            return Some(first.trim_end().to_owned()).filter(|it| !it.is_empty());
        };
        let mut text = vec![0; length.trim().parse().ok()?];
        std::io::Read::read_exact(&mut reader, &mut text).ok()?;
        String::from_utf8(text).ok()
    }

    fn ask(&self, line: &str) -> String {
        let answer = self.try_ask(line).unwrap();
        assert!(!answer.starts_with('-'), "{line}: {answer}");
        answer
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn until(holds: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(AGREE_LIMIT, wait).await;
    waited.unwrap_or_else(|_| panic!("{}", otherwise()));
}

/// Three masters, a third of the slots each.
struct Cluster(Vec<Node>);

impl Cluster {
    async fn new() -> Self {
        Self::with_tls(false).await
    }

    async fn with_tls(tls: bool) -> Self {
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::new(tls)).collect();
        let certificates: String = nodes.iter().map(Node::certificate).collect();
        for node in &mut nodes {
            node.write("others.pem", &certificates);
            node.start().await;
        }
        for (number, node) in nodes.iter().enumerate() {
            let slots = SHARES[number]..SHARES[number + 1];
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            node.ask(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            let first = nodes[0].tls_port.unwrap_or(nodes[0].port);
            if number > 0 {
                node.ask(&format!("CLUSTER MEET 127.0.0.1 {first}"));
            }
        }
        let cluster = Self(nodes);
        cluster.agree().await;
        cluster
    }

    async fn agree(&self) {
        let info = |node: &Node| node.try_ask("CLUSTER INFO").unwrap_or_default();
        let agrees = |node: &Node| {
            let info = info(node);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        until(|| self.0.iter().all(agrees), || info(&self.0[0])).await;
    }

    fn settings(&self, answer: Duration) -> RedisSettings {
        // One is enough to find the others; the second stands in for it when it is away.
        let (one, two) = (self.0[0].port, self.0[1].port);
        RedisSettings {
            url: format!("redis+cluster://127.0.0.1:{one},127.0.0.1:{two}"),
            authorities: None,
            connect: Duration::from_secs(5),
            answer,
        }
    }

    /// The same over TLS, when so many of the nodes' certificates are known.
    fn tls_settings(&self, known: usize) -> RedisSettings {
        let known: String = self.0.iter().take(known).map(Node::certificate).collect();
        self.0[0].write("authorities.pem", &known);
        RedisSettings {
            url: format!("rediss+cluster://127.0.0.1:{}", self.0[0].tls_port.unwrap()),
            authorities: Some(self.0[0].folder.path().join("authorities.pem")),
            ..self.settings(PATIENT)
        }
    }

    fn slot(&self, key: &str) -> u16 {
        let slot = self.0[0].ask(&format!("CLUSTER KEYSLOT {key}"));
        slot.strip_prefix(':').unwrap().parse().unwrap()
    }

    /// Which node had the key's slot at first.
    fn home(&self, key: &str) -> usize {
        let slot = self.slot(key);
        SHARES.iter().rposition(|first| *first <= slot).unwrap()
    }

    /// A name, from that number on, whose counter is at that node.
    fn name_at(&self, node: usize, from: u8) -> [u8; 16] {
        let mut names = (from..=u8::MAX).map(|number| [number; 16]);
        names.find(|name| self.home(&key(name)) == node).unwrap()
    }
}

fn question() -> Question {
    Question {
        rate: Rate::new(3, 3_600_000, 3).unwrap(),
        cost: 1,
        remembered_us: 0,
    }
}

const PATIENT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_their_budgets_on_every_node_and_follow_a_key_that_moves() {
    let cluster = Cluster::new().await;
    let open = async || {
        SharedCounters::open(&cluster.settings(PATIENT))
            .await
            .unwrap()
    };
    let (left, right) = (open().await, open().await);
    for number in 0..40 {
        let name = [number; 16];
        for turn in 0..4 {
            let asked = if turn % 2 == 0 { &left } else { &right };
            let counted = asked.count(&name, &question()).await.unwrap();
            assert_eq!(counted.retry_after_ms > 0, turn == 3, "{number} {turn}");
        }
    }
    for node in &cluster.0 {
        assert_ne!(node.ask("DBSIZE"), ":0", "a node has no counter");
    }
    // A slot without a key moves: both find it where it is now.
    let name = cluster.name_at(0, 100);
    let slot = cluster.slot(&key(&name));
    let new_home = cluster.0[2].ask("CLUSTER MYID");
    for node in &cluster.0 {
        node.ask(&format!("CLUSTER SETSLOT {slot} NODE {new_home}"));
    }
    for turn in 0..4 {
        let asked = if turn % 2 == 0 { &left } else { &right };
        let counted = asked.count(&name, &question()).await.unwrap();
        assert_eq!(counted.retry_after_ms > 0, turn == 3, "{turn}");
    }
    let there = cluster.0[2].ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
    assert_eq!(there, ":1");
    for counters in [left, right] {
        assert_eq!((counters.errors(), counters.counted_alone()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_node_that_is_away_and_it_is_used_again_when_it_is_back() {
    let mut cluster = Cluster::new().await;
    let answer = Duration::from_millis(500);
    let counters = SharedCounters::open(&cluster.settings(answer))
        .await
        .unwrap();
    let (here, there) = (cluster.name_at(0, 0), cluster.name_at(1, 0));
    assert!(counters.count(&here, &question()).await.is_some());
    // The node that the address names first.
    cluster.0[0].stop();
    let asked = async { counters.count(&here, &question()).await };
    let asked = tokio::time::timeout(2 * answer, asked);
    assert!(asked.await.expect("nobody waits").is_none());
    assert!(counters.counted_alone() > 0);
    cluster.0[0].start().await;
    cluster.agree().await;
    let used_again = async {
        for name in [&here, &there] {
            while counters.count(name, &question()).await.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let waited = tokio::time::timeout(AGREE_LIMIT, used_again).await;
    waited.expect("used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_examined_and_a_lone_node_of_one_is_told() {
    let cluster = Cluster::new().await;
    let settings = cluster.settings(PATIENT);
    let report = SharedCounters::examine(&settings).await.unwrap();
    assert!(report.found.starts_with("reachable and counting"));
    assert_eq!(report.notes, [""; 0]);
    // The one that has the key that is tried.
    let home = cluster.home(&format!("{PREFIX}:{{probe}}"));
    let url = format!("redis://127.0.0.1:{}", cluster.0[home].port);
    let lone = RedisSettings { url, ..settings };
    let report = SharedCounters::examine(&lone).await.unwrap();
    assert!(report.notes[0].contains("redis+cluster://"), "{report:?}");
}

/// Each node that a key leads to has to prove itself, not only the one that is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_known_by_its_certificate() {
    let cluster = Cluster::with_tls(true).await;
    let names = [0, 1, 2].map(|node| cluster.name_at(node, 0));
    let settings = cluster.tls_settings(3);
    let counters = SharedCounters::open(&settings).await.unwrap();
    for name in &names {
        assert!(counters.count(name, &question()).await.is_some());
    }
    assert_eq!(counters.errors(), 0);
    let settings = cluster.tls_settings(1);
    let counters = SharedCounters::open(&settings).await.unwrap();
    assert!(counters.count(&names[1], &question()).await.is_none());
    assert!(counters.count(&names[2], &question()).await.is_none());
}
