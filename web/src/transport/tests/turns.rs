//! Many requests at once: all are answered, and whoever asks whether the server lives does not wait for them.

use super::*;

const CLIENTS: usize = 300;
const WORK: &str = "GET /held HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn the_question_for_life_overtakes_what_came_before_it() {
    for question in ["GET /livez", "GET /readyz"] {
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
        let mut prober = server.connect().await;
        assert_hello(&mut prober).await;
        for client in &clients {
            assert_eq!(client.try_write(WORK.as_bytes()).unwrap(), WORK.len());
        }
        send(
            &mut prober,
            &format!("{question} HTTP/1.1\r\nHost: test\r\n\r\n"),
        )
        .await;
        assert!(receive(&mut prober).await.contains("404"));
        let before = server.hold.entered.load(Relaxed);
        assert!(before < CLIENTS as u64 * 3 / 4, "{before} were before it");
        for client in &mut clients {
            assert!(receive(client).await.ends_with("released"));
        }
        drop((clients, prober));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_request_that_comes_in_pieces_while_many_wait_is_whole() {
    let server = Server::start(TransportSettings {
        max_connections: CLIENTS + 1,
        max_connections_per_address: CLIENTS + 1,
        ..patient()
    })
    .await;
    server.hold.gate.add_permits(CLIENTS);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.connect().await);
    }
    let mut last = server.connect().await;
    for client in &clients {
        assert_eq!(client.try_write(WORK.as_bytes()).unwrap(), WORK.len());
    }
    let body = "a".repeat(9000);
    let request =
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\n{body}");
    for piece in request.as_bytes().chunks(1000) {
        within(last.write_all(piece)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(receive(&mut last).await.ends_with(&body));
    for client in &mut clients {
        assert!(receive(client).await.ends_with("released"));
    }
    drop((clients, last));
    server.stop().await;
}
