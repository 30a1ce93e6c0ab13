//! The time between the order to stop and the closed door: everything is still answered, and sent elsewhere.

use super::*;

#[tokio::test]
async fn a_leaving_server_answers_and_closes_each_connection_after_its_answer() {
    let server = Server::start(TransportSettings {
        leave_timeout: Duration::from_millis(500),
        ..patient()
    })
    .await;
    let mut old = server.connect().await;
    assert_hello(&mut old).await;
    let mut idle = server.connect().await;
    assert_hello(&mut idle).await;
    assert!(!server.stats.is_leaving());
    server.shutdown.cancel();
    until("it leaves", || server.stats.is_leaving()).await;
    let mut fresh = server.connect().await;
    for client in [&mut old, &mut fresh] {
        send(client, GET).await;
        let answer = receive(client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(rest(client).await, "");
    }
    // Nobody asked on this one, so it stays open until the door is closed.
    assert_eq!(rest(&mut idle).await, "");
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "{refused:?}");
    server.stop().await;
}
