//! At the connection limit: whoever only stands around makes room, whoever works or is new stays.

use super::*;

/// Longer than a connection may stand around at the limit.
const STOOD: Duration = Duration::from_millis(1200);

fn with_room_for(connections: usize) -> TransportSettings {
    TransportSettings {
        max_connections: connections,
        ..patient()
    }
}

#[tokio::test]
async fn idle_connections_make_room_one_for_each_that_waits() {
    let server = Server::start(with_room_for(3)).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        assert_hello(&mut client).await;
        idle.push(client);
    }
    let mut waiting = server.connect().await;
    assert_hello(&mut waiting).await;
    // The first had been idle for longest; the others are there still.
    assert_eq!(rest(&mut idle[0]).await, "");
    for client in &mut idle[1..] {
        assert_hello(client).await;
    }
    assert_eq!(server.stats.timed_out(), 0);
    drop((idle, waiting));
    server.stop().await;
}

#[tokio::test]
async fn headers_that_never_end_make_room() {
    for opening in ["", "GET / HTTP/1.1\r\nHost:"] {
        let server = Server::start(with_room_for(1)).await;
        let mut slow = server.connect().await;
        send(&mut slow, opening).await;
        let mut waiting = server.connect().await;
        assert_hello(&mut waiting).await;
        assert_eq!(rest(&mut slow).await, "", "{opening:?}");
        drop(waiting);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_request_at_work_makes_no_room() {
    let server = Server::start(with_room_for(1)).await;
    let mut held = server.connect_held().await;
    let mut waiting = server.connect().await;
    send(&mut waiting, GET).await;
    let silence = timeout(STOOD, waiting.read_u8()).await;
    assert!(silence.is_err(), "let in beside it: {silence:?}");
    server.hold.gate.add_permits(1);
    assert!(receive(&mut held).await.ends_with("released"));
    // Idle now, it goes when it has been so for a while.
    assert!(receive(&mut waiting).await.ends_with("hello"));
    assert_eq!(rest(&mut held).await, "");
    drop(waiting);
    server.stop().await;
}

#[tokio::test]
async fn nobody_goes_while_nobody_waits() {
    let server = Server::start(with_room_for(1)).await;
    let mut client = server.connect().await;
    assert_hello(&mut client).await;
    sleep(STOOD).await;
    assert_hello(&mut client).await;
    drop(client);
    server.stop().await;
}
