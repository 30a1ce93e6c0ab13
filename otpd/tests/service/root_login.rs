//! That root has logged in is known for good, and told to the node that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app::{Caller, Context, RootLogins};
use tokio_util::sync::CancellationToken;

use crate::answer::text;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_login_of_root_is_known_for_good,
    a_node_learns_of_a_login_at_another,
    a_recovery_code_is_a_login_too,
}

/// Root as the first start gives it away.
struct Root {
    password: String,
    device: Device,
    recovery: String,
}

async fn first_start(server: &Server) -> Root {
    let context = Context::local(Caller::Server);
    let first = server.app.prepare_first_start(&context).await.unwrap();
    let first = first.expect("a new database");
    let root = first.root.as_ref().unwrap();
    let given = Root {
        password: root.password().to_owned(),
        device: Device::from_uri(root.provisioning_uri()),
        recovery: root.recovery_codes()[0].clone(),
    };
    assert!(server.app.store_first_start(&context, first).await.unwrap());
    given
}

async fn log_in(server: &Server, root: &Root, code: &str, status: u16) {
    let waiting = server.login("root", &root.password).await.json(200);
    let step = server.second_step("root", code, text(&waiting, "mfa_token"));
    step.await.json(status);
}

async fn known(server: &Server) -> bool {
    server.app.root_has_logged_in().await.unwrap()
}

async fn a_login_of_root_is_known_for_good(engine: Engine) {
    let server = Server::with(engine, &[("API_KEY", "")]).await;
    assert!(!known(&server).await, "there is no root");
    let root = first_start(&server).await;
    assert!(!known(&server).await);
    log_in(&server, &root, "000000", 401).await;
    assert!(!known(&server).await, "a right password alone is no login");
    log_in(&server, &root, &root.device.code(&server), 200).await;
    assert!(known(&server).await);
    if engine == Engine::Sqlite {
        // Its session is swept.
        server.advance(40 * 86_400);
        jobs_until(&server, || sessions(&server) == 0).await;
    }
    let server = server.restart(&[("API_KEY", "")]).await.unwrap();
    assert!(known(&server).await);
}

async fn a_recovery_code_is_a_login_too(engine: Engine) {
    let server = Server::with(engine, &[("API_KEY", "")]).await;
    let root = first_start(&server).await;
    log_in(&server, &root, &root.recovery, 200).await;
    assert!(known(&server).await);
}

/// How many are stored.
fn sessions(server: &Server) -> i64 {
    let file = server.folder().join("otpd.db");
    let database = rusqlite::Connection::open(file).unwrap();
    let count = database.query_row("SELECT COUNT(*) FROM sessions", [], |row| row.get(0));
    count.unwrap()
}

/// Runs the jobs until that holds.
async fn jobs_until(server: &Server, done: impl Fn() -> bool) {
    let stop = CancellationToken::new();
    let jobs = tokio::spawn(Arc::clone(&server.app).run_jobs(stop.clone()));
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    stop.cancel();
    jobs.await.unwrap();
    waited.expect("it holds in time");
}

async fn a_node_learns_of_a_login_at_another(engine: Engine) {
    let server = Server::with(engine, &[("API_KEY", "")]).await;
    let root = first_start(&server).await;
    log_in(&server, &root, &root.device.code(&server), 200).await;
    let server = server.restart(&[("API_KEY", "")]).await.unwrap();
    let counted = |logins, last| {
        let calls = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&calls);
        server.app.when_root_logs_in(logins, move || {
            counter.fetch_add(1, Ordering::SeqCst);
            last
        });
        calls
    };
    for (logins, last, expected) in [
        (RootLogins::Here, true, 0),
        (RootLogins::Ever, true, 1),
        // It could not do its work and is called again.
        (RootLogins::Ever, false, 2),
    ] {
        let calls = counted(logins, last);
        for _ in 0..2 {
            server.app.look_for_root().await.unwrap();
        }
        let calls = calls.load(Ordering::SeqCst);
        assert_eq!(calls, expected, "{logins:?}, last: {last}");
    }
    let calls = counted(RootLogins::Ever, true);
    jobs_until(&server, || calls.load(Ordering::SeqCst) == 1).await;
}
