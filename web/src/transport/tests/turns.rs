//! Many requests at once: all are answered, and whoever asks whether the server lives does not wait for them.

use crate::transport::{
    activity::{Activity, Patience, Verdict},
    turnstile::Turnstile,
    watched::Watched,
};

use super::*;

const CLIENTS: usize = 300;
const WORK: &str = "GET /held HTTP/1.1\r\nHost: test\r\n\r\n";

/// A server for so many clients, and clients that have been served once.
async fn begin() -> (Server, Vec<TcpStream>) {
    let server = Server::start(TransportSettings {
        max_connections: CLIENTS + 1,
        max_connections_per_address: CLIENTS + 1,
        ..patient()
    })
    .await;
    server.hold.gate.add_permits(CLIENTS);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.connect().await;
        assert_hello(&mut client).await;
        clients.push(client);
    }
    (server, clients)
}

/// All of them ask for something at once, before the server can look.
fn all_ask(clients: &[TcpStream]) {
    for client in clients {
        assert_eq!(client.try_write(WORK.as_bytes()).unwrap(), WORK.len());
    }
}

async fn all_are_answered(clients: &mut [TcpStream]) {
    for client in clients {
        assert!(receive(client).await.ends_with("released"));
    }
}

#[tokio::test]
async fn the_question_for_life_overtakes_what_came_before_it() {
    for question in ["GET /livez", "GET /readyz"] {
        let (server, mut clients) = begin().await;
        let mut prober = server.connect().await;
        assert_hello(&mut prober).await;
        all_ask(&clients);
        send(
            &mut prober,
            &format!("{question} HTTP/1.1\r\nHost: test\r\n\r\n"),
        )
        .await;
        assert!(receive(&mut prober).await.contains("404"));
        let before = server.hold.entered.load(Relaxed);
        assert!(before < CLIENTS as u64 * 3 / 4, "{before} were before it");
        all_are_answered(&mut clients).await;
        drop((clients, prober));
        server.stop().await;
    }
}

#[tokio::test]
async fn what_waits_for_its_turn_is_answered_before_the_end() {
    let (server, mut clients) = begin().await;
    all_ask(&clients);
    // The first have been let in, the others are read and wait.
    while server.hold.entered.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    all_are_answered(&mut clients).await;
    drop(clients);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_comes_in_pieces_while_many_wait_is_whole() {
    let (server, mut clients) = begin().await;
    let mut last = server.connect().await;
    all_ask(&clients);
    let body = "a".repeat(9000);
    let request =
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\n{body}");
    for piece in request.as_bytes().chunks(1000) {
        within(last.write_all(piece)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(receive(&mut last).await.ends_with(&body));
    all_are_answered(&mut clients).await;
    drop((clients, last));
    server.stop().await;
}

/// Nobody is let in any more; what is held is neither sent away nor cut for being slow.
#[tokio::test]
async fn a_request_that_is_held_is_not_taken_for_a_slow_one() {
    let settings = TransportSettings {
        header_timeout: SHORT,
        ..patient()
    };
    let activity = Arc::new(Activity::new(Patience::new(&settings), Arc::default()));
    let turnstile = Arc::new(Turnstile::new(1));
    while turnstile.enter(WORK.as_bytes()).is_ok() {}
    let mut stream = Watched::new(
        WORK.as_bytes(),
        Arc::clone(&activity),
        Arc::clone(&turnstile),
    );
    let mut bytes = vec![0; 1000];
    let read = timeout(2 * SHORT, stream.read(&mut bytes)).await;
    assert!(read.is_err(), "let in: {read:?}");
    assert!(activity.is_held() && activity.standing_since().is_none());
    activity.send_away();
    assert!(matches!(activity.judge(), Verdict::WaitUntil(_)));
    // It is the second of those that wait.
    let turning = tokio::spawn(async move { turnstile.turn().await });
    assert_eq!(within(stream.read(&mut bytes)).await.unwrap(), WORK.len());
    assert_eq!(&bytes[..WORK.len()], WORK.as_bytes());
    assert!(!activity.is_held());
    turning.abort();
}
