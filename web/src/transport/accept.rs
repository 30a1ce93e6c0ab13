//! Who gets in: accepts connections up to the limit, and at the end waits for those in progress.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Bound, TransportStats, connection,
    shares::{Share, Shares},
};

/// The pause after a failed `accept`: long enough not to spin while file descriptors are short,
/// short enough not to be noticed once they are back.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the next one waits for a slot before somebody is asked to make room.
const ROOM_EVERY: Duration = Duration::from_millis(5);

/// Serves `bound` until `shutdown`, then drains.
pub(super) async fn run(
    bound: Bound,
    router: Router,
    shutdown: CancellationToken,
    stats: Arc<TransportStats>,
) {
    // Ends with this function, whichever way that is left.
    let mut background = JoinSet::new();
    if let Some(tls) = &bound.tls {
        background.spawn(Arc::clone(tls).follow_files(bound.tls_check));
    }
    let shares = Arc::new(Shares::new(
        bound.settings.max_connections_per_address,
        &bound.settings.unlimited,
    ));
    let host = Arc::new(connection::Host::new(
        &bound.settings,
        bound.tls,
        router,
        stats,
    ));
    let turnstile = Arc::clone(&host.turnstile);
    background.spawn(async move { turnstile.turn().await });
    let mut connections = JoinSet::new();
    let most = bound
        .settings
        .max_connections
        .clamp(1, Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(most));
    let doors = Doors {
        listener: &bound.listener,
        slots,
        shares,
    };
    accept_until(&shutdown, &doors, &host, &mut connections).await;

    // Whoever balances load learns now that this server goes, and has no request of its own
    // under way when the connections are closed.
    host.stats.leave();
    if !bound.settings.leave_timeout.is_zero() {
        let never = CancellationToken::new();
        let accept = accept_until(&never, &doors, &host, &mut connections);
        // It ends with the time alone.
        let _ = timeout(bound.settings.leave_timeout, accept).await;
    }

    // New connections are refused from here on.
    drop(bound.listener);
    host.closing.begin();
    let all_done = async { while connections.join_next().await.is_some() {} };
    if timeout(bound.settings.drain_timeout, all_done)
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "requests were still running at the end of the drain time and have been dropped"
        );
        connections.shutdown().await;
    }
}

/// Where connections come in, and how many may.
struct Doors<'a> {
    listener: &'a TcpListener,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
}

async fn accept_until(
    shutdown: &CancellationToken,
    doors: &Doors<'_>,
    host: &Arc<connection::Host>,
    connections: &mut JoinSet<()>,
) {
    let mut failing = false;
    while let Some(accepted) = shutdown.run_until_cancelled(next(doors, host)).await {
        match accepted {
            Ok(guest) => {
                failing = false;
                let host = Arc::clone(host);
                connections.spawn(async move {
                    connection::attend(guest.stream, guest.peer, host).await;
                    drop((guest.share, guest.slot));
                });
            }
            // The client gave up while it waited: its affair alone.
            Err(error) if of_one_client(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                }
                failing = true;
                let _ = shutdown.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
        // Finished tasks are kept until they are joined.
        while connections.try_join_next().is_some() {}
    }
}

/// A connection that may be served.
struct Guest {
    stream: TcpStream,
    peer: SocketAddr,
    share: Share,
    slot: OwnedSemaphorePermit,
}

/// The next connection that has a share and a slot. At the limit one client is inside the door, the
/// others wait in the backlog, where they cost no memory of ours, until a request ends or somebody
/// who only stands around has left.
async fn next(doors: &Doors<'_>, host: &connection::Host) -> io::Result<Guest> {
    let (stream, peer, share) = loop {
        let (stream, peer) = doors.listener.accept().await?;
        if let Some(share) = doors.shares.take(peer.ip()) {
            break (stream, peer, share);
        }
        // Without its share the stream is dropped, which closes it.
        host.stats.count_refusal();
    };
    let slot = loop {
        let slot = Arc::clone(&doors.slots).acquire_owned();
        match timeout(ROOM_EVERY, slot).await {
            Ok(slot) => break slot.map_err(io::Error::other)?,
            Err(_) => host.crowd.make_room(),
        }
    };
    Ok(Guest {
        stream,
        peer,
        share,
        slot,
    })
}

fn of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
