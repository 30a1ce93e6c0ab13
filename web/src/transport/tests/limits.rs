//! Time-outs, the connection limit and the end of the server, seen over plain HTTP/1.

use super::*;
use tokio::time::Instant;

#[tokio::test]
async fn slow_headers_close_the_connection() {
    for opening in ["", "G", "\r\n", "GET / HTTP/1.1\r\nHost: test\r\n"] {
        let server = Server::start(TransportSettings {
            header_timeout: SHORT,
            ..patient()
        })
        .await;
        let mut client = server.connect().await;
        send(&mut client, opening).await;
        assert_eq!(rest(&mut client).await, "", "{opening:?}");
        assert_eq!(server.stats.timed_out(), 1, "{opening:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn slow_headers_of_a_later_request_close_the_connection() {
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    assert_hello(&mut client).await;
    send(&mut client, "GET / HT").await;
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(server.stats.timed_out(), 1);
    server.stop().await;
}

#[tokio::test]
async fn bytes_that_trickle_do_not_prolong_the_header_timeout() {
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    let trickle = async {
        while client.write_all(b"GET").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(trickle).await;
    assert_eq!(server.stats.timed_out(), 1);
    server.stop().await;
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "measures real time on a real socket"
)]
async fn idle_connections_outlive_the_header_timeout_and_close_after_their_own() {
    let idle = SHORT * 4;
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        idle_timeout: idle,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    let started = Instant::now();
    assert_hello(&mut client).await;
    assert_eq!(rest(&mut client).await, "");
    assert!(started.elapsed() >= idle, "{:?}", started.elapsed());
    assert_eq!(server.stats.timed_out(), 0);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_timeout_below_the_header_timeout_is_kept_too() {
    let server = Server::start(TransportSettings {
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    assert_hello(&mut client).await;
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(server.stats.timed_out(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_request_at_work_is_not_idle() {
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect_held().await;
    let silence = timeout(SHORT * 4, client.read_u8()).await;
    assert!(silence.is_err(), "closed or answered: {silence:?}");
    server.hold.gate.add_permits(1);
    assert!(receive(&mut client).await.ends_with("released"));
    server.stop().await;
}

#[tokio::test]
async fn slow_bodies_are_answered_with_408_and_closed() {
    for path in ["/echo", "/raw"] {
        for (framing, part) in [
            ("Content-Length: 10", ""),
            ("Content-Length: 10", "12345"),
            ("Transfer-Encoding: chunked", "5\r\n12345\r\n"),
        ] {
            let server = Server::start(TransportSettings {
                body_timeout: SHORT,
                ..patient()
            })
            .await;
            let mut client = server.connect().await;
            let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{part}");
            send(&mut client, &head).await;
            let answer = receive(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{head} {answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert_eq!(rest(&mut client).await, "");
            assert_eq!(server.stats.timed_out(), 1);
            drop(client);
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn bodies_in_time_are_served_however_they_come() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n";
    let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for pieces in [
        vec![head.to_owned() + "1234567890"],
        vec![head.to_owned(), "12345".to_owned(), "67890".to_owned()],
        vec![chunked.to_owned() + "a\r\n1234567890\r\n0\r\n\r\n"],
        vec![
            chunked.to_owned() + "a\r\n12345",
            "67890\r\n0\r\n\r\n".to_owned(),
        ],
    ] {
        for piece in &pieces {
            send(&mut client, piece).await;
            // Lets the server meet the pieces one by one, most of the time.
            tokio::task::yield_now().await;
        }
        let answer = receive(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n1234567890"), "{answer}");
    }
    assert_eq!(server.stats.accepted(), 1);
    server.stop().await;
}

#[tokio::test]
async fn only_a_body_that_is_waited_for_costs_a_timer() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    for path in ["/echo", "/raw"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n");
        send(&mut client, &(head.clone() + "12345")).await;
        receive(&mut client).await;
        assert_eq!(server.stats.awaited_bodies(), 0, "{path}");
    }
    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n";
    send(&mut client, head).await;
    until("it is waited for", || server.stats.awaited_bodies() == 1).await;
    send(&mut client, "12345").await;
    assert!(receive(&mut client).await.ends_with("12345"));
    server.stop().await;
}

/// Without care the first piece that is sent after the answer would be met with a reset, and the
/// second would fail: many clients then never look at the answer.
#[tokio::test]
async fn a_client_may_go_on_sending_after_the_answer() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    let head = "POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 400000\r\n\r\n";
    send(&mut client, head).await;
    within(client.readable()).await.unwrap();
    for _ in 0..100 {
        send(&mut client, &"x".repeat(4000)).await;
        tokio::task::yield_now().await;
    }
    assert!(receive(&mut client).await.ends_with("not read"));
    assert_eq!(rest(&mut client).await, "");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_is_given_up() {
    let server = Server::start(TransportSettings {
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    send(&mut client, "GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("the writer is stuck", || server.stats.timed_out() == 1).await;
    until("the connection ends", || server.stats.open() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_closes() {
    let server = Server::start(TransportSettings {
        max_connections: 2,
        ..patient()
    })
    .await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    assert_hello(&mut first).await;
    assert_hello(&mut second).await;

    let mut third = server.connect().await;
    send(&mut third, GET).await;
    assert!(timeout(SHORT, third.readable()).await.is_err());
    assert_eq!((server.stats.accepted(), server.stats.open()), (2, 2));

    drop(first);
    assert!(receive(&mut third).await.ends_with("hello"));
    assert_eq!((server.stats.accepted(), server.stats.open()), (3, 2));
    server.stop().await;
}

#[tokio::test]
async fn one_address_gets_its_share_of_the_connections_alone() {
    let settings = TransportSettings {
        max_connections_per_address: 2,
        ..patient()
    };
    let server = Server::start(settings.clone()).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    assert_hello(&mut first).await;
    assert_hello(&mut second).await;
    let mut third = server.connect().await;
    assert_eq!(rest(&mut third).await, "");
    assert_eq!((server.stats.refused(), server.stats.open()), (1, 2));
    drop(first);
    until("it is counted out", || server.stats.open() == 1).await;
    assert_hello(&mut server.connect().await).await;
    server.stop().await;

    let server = Server::start(TransportSettings {
        unlimited: vec![("127.0.0.0".parse().unwrap(), 8)],
        ..settings
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(server.connect().await);
        assert_hello(clients.last_mut().unwrap()).await;
    }
    assert_eq!(server.stats.refused(), 0);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_before_a_large_body_says_that_it_is_the_last() {
    for (framing, is_last) in [
        ("Content-Length: 400000", true),
        ("Transfer-Encoding: chunked", true),
        ("Content-Length: 5", false),
    ] {
        let server = Server::start(patient()).await;
        let mut client = server.connect().await;
        let body = if is_last { "" } else { "12345" };
        let head = format!("POST /early HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{body}");
        send(&mut client, &head).await;
        let answer = receive(&mut client).await;
        let says_so = answer.contains("\r\nconnection: close\r\n");
        assert_eq!(says_so, is_last, "{framing}: {answer}");
        if is_last {
            assert_eq!(rest(&mut client).await, "", "{framing}");
        } else {
            assert_hello(&mut client).await;
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn the_drain_finishes_requests_and_refuses_new_connections() {
    let server = Server::start(patient()).await;
    let mut busy = server.connect_held().await;
    let mut idle = server.connect().await;
    let mut fresh = server.connect().await;
    assert_hello(&mut idle).await;
    until("all are accepted", || server.stats.open() == 3).await;

    server.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut fresh).await, "");
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "{refused:?}");

    server.hold.gate.add_permits(1);
    let answer = receive(&mut busy).await;
    assert!(answer.ends_with("released"), "{answer}");
    assert_eq!(rest(&mut busy).await, "");
    server.stop().await;
}

#[tokio::test]
async fn the_drain_ends_in_time() {
    let server = Server::start(TransportSettings {
        drain_timeout: SHORT,
        ..patient()
    })
    .await;
    let mut client = server.connect_held().await;
    server.stop().await;
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    for (header, count) in [
        ("X-Small: 1\r\n".to_owned(), 100),
        (format!("X-Large: {}\r\n", "x".repeat(8000)), 5),
    ] {
        let server = Server::start(patient()).await;
        let mut client = server.connect().await;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: test\r\n{}\r\n",
            header.repeat(count)
        );
        send(&mut client, &head).await;
        let answer = receive(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_alone() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    send(&mut client, "GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(rest(&mut client).await, "");
    until("it is counted out", || server.stats.open() == 0).await;
    assert_hello(&mut server.connect().await).await;
    server.stop().await;
}

#[tokio::test]
async fn requests_know_their_peer() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    send(&mut client, "GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = format!("\r\n\r\n{} false", client.local_addr().unwrap());
    assert!(receive(&mut client).await.ends_with(&expected));
    server.stop().await;
}

#[tokio::test]
async fn unusable_addresses_are_named() {
    let server = Server::start(patient()).await;
    let text = |settings| async move { bind(&settings).await.err().unwrap().to_string() };
    let taken = text(TransportSettings {
        port: server.address.port(),
        ..patient()
    });
    assert_eq!(
        taken.await,
        format!(
            "cannot listen on {}: another program is using this address and port",
            server.address
        )
    );
    let foreign = text(TransportSettings {
        host: "192.0.2.1".to_owned(),
        ..patient()
    });
    assert_eq!(
        foreign.await,
        "cannot listen on 192.0.2.1:0: this machine does not have the address"
    );
    let unknown = text(TransportSettings {
        host: "no such host".to_owned(),
        ..patient()
    });
    let unknown = unknown.await;
    assert!(
        unknown.starts_with("cannot find an address for the host no such host: "),
        "{unknown}"
    );
    server.stop().await;
}

/// A body that has come along with its header is not what comes next, however long it was.
#[tokio::test]
async fn a_slow_header_after_a_body_that_nobody_read_is_cut() {
    for length in [5, 1000] {
        let server = Server::start(TransportSettings {
            header_timeout: SHORT,
            ..patient()
        })
        .await;
        let mut client = server.connect().await;
        let body = "x".repeat(length);
        let refused =
            format!("POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
        send(&mut client, &refused).await;
        assert!(receive(&mut client).await.ends_with("not read"));
        send(&mut client, "GET / HTTP/1.1\r\nHost:").await;
        assert_eq!(rest(&mut client).await, "");
        assert_eq!(server.stats.timed_out(), 1);
        server.stop().await;
    }
}
