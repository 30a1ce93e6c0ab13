//! `otpd serve`: the server, from opening the database to the last answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::transport::{self, Bound, TlsFiles, TransportSettings, TransportStats};

use crate::config::DatabaseUrl;
use crate::config::settings::Settings;
use crate::first_start;
use crate::wiring::{self, Surroundings};

/// Signals within this time are one order: a terminal and a wrapper both pass it on.
const ONE_ORDER: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C; a second one drops what is in progress.
///
/// # Errors
/// A sentence for whoever started the server, when it cannot do its work.
pub async fn run(settings: &Settings, around: &Surroundings) -> anyhow::Result<()> {
    if let Some(sentence) = wrong_issuer(settings) {
        tracing::warn!("{sentence}");
    }
    // First: a server that cannot have its port makes no database and no secret.
    let bound = transport::bind(&transport_settings(settings)).await?;
    let opened = wiring::open(settings, around).await?;
    if let Some(path) = &opened.made_master {
        tracing::info!(path = %path.display(), "a master secret was made for this new database: back it up, apart from the database");
    }
    let app = Arc::new(wiring::start(settings, opened, around).await?);
    let result = listen(settings, around, &app, bound).await;
    app.close().await;
    result
}

/// What is wrong with the issuer that the tokens name, where others rely on it: nobody
/// can reach it, or it is made from an address that only this machine knows, or that
/// other servers over the same database do not have.
pub fn wrong_issuer(settings: &Settings) -> Option<String> {
    let server = &settings.server;
    if server.callable_public_url().is_some() {
        return None;
    }
    let address = server.host.parse::<IpAddr>();
    let nowhere = address.is_ok_and(|address| address.is_unspecified());
    let fault = match &server.public_url {
        Some(_) => "is an address that nobody can call",
        None if nowhere || settings.environment.is_production() => "is not set",
        // Each of them would name its own address, and take no token of another.
        None if matches!(settings.database.url, DatabaseUrl::Postgres(_)) => {
            "is not set, though several servers can share this database"
        }
        None => return None,
    };
    let issuer = wiring::public_url(settings);
    Some(format!(
        "server.public_url {fault}: the tokens name {issuer} as their issuer (iss); set it to the address by which clients reach this server"
    ))
}

async fn listen(
    settings: &Settings,
    around: &Surroundings,
    app: &Arc<app::App>,
    bound: Bound,
) -> anyhow::Result<()> {
    let address = bound.local_addr();
    let url = format!("{}://{address}", settings.server.scheme());
    app.prepare_signing_keys().await?;
    first_start::give(app, settings, address).await?;
    first_start::forget_when_read(app, settings);
    let stats = Arc::new(TransportStats::default());
    let random = Arc::clone(&around.random);
    let router = web::router(
        Arc::clone(app),
        web_settings(settings),
        Arc::clone(&stats),
        Arc::new(move |buffer: &mut [u8]| random.fill(buffer)),
    );
    let orders = Orders::from_signals();
    // The jobs end last: what they keep count of goes on while the server drains.
    let end = CancellationToken::new();
    let jobs = tokio::spawn(Arc::clone(app).run_jobs(end.clone()));
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    tracing::info!(%url, threads, version = env!("CARGO_PKG_VERSION"), "otpd is ready");
    let served = tokio::select! {
        served = bound.serve(router, orders.stop, stats) => served,
        // What was put to the database is decided all the same: it ends with the store.
        () = orders.at_once.cancelled() => {
            tracing::warn!("told to stop a second time: requests in progress are dropped");
            Ok(())
        }
    };
    end.cancel();
    // A job that panicked has been logged; there is nothing left to wait for.
    let _ = jobs.await;
    served?;
    tracing::info!("otpd has stopped");
    Ok(())
}

/// What whoever runs the server wants by its signals.
struct Orders {
    /// To stop in order.
    stop: CancellationToken,
    /// Not to wait for anybody.
    at_once: CancellationToken,
}

impl Orders {
    /// When this returns, a signal stops the server in order: whoever reads that it is
    /// ready may send one at once. Before, a signal ends the process, as a kill would.
    fn from_signals() -> Self {
        let orders = Self {
            stop: CancellationToken::new(),
            at_once: CancellationToken::new(),
        };
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::error!("signals cannot be received: only a kill will stop this server");
            return orders;
        };
        let (stop, at_once) = (orders.stop.clone(), orders.at_once.clone());
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            next().await;
            stop.cancel();
            let same = async {
                loop {
                    next().await;
                }
            };
            // It ends with the time alone.
            let _ = tokio::time::timeout(ONE_ORDER, same).await;
            next().await;
            at_once.cancel();
        });
        orders
    }
}

fn transport_settings(settings: &Settings) -> TransportSettings {
    let server = &settings.server;
    TransportSettings {
        host: server.host.clone(),
        port: server.port,
        tls: server.tls.as_ref().map(|tls| TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }),
        max_connections: server.max_connections,
        max_connections_per_address: server.max_connections_per_address,
        unlimited: unlimited(settings),
        header_timeout: server.header_timeout,
        body_timeout: server.body_timeout,
        idle_timeout: server.idle_timeout,
        leave_timeout: server.leave_timeout,
        drain_timeout: server.drain_timeout,
    }
}

/// Behind these addresses may be any number of clients: proxies on this machine, which nobody can
/// reach from outside by a loopback address, and those that the settings trust.
fn unlimited(settings: &Settings) -> Vec<(IpAddr, u8)> {
    let networks = settings.server.trusted_proxies.iter();
    let mut unlimited: Vec<_> = networks.map(|net| (net.address, net.prefix)).collect();
    unlimited.push((IpAddr::V4(Ipv4Addr::LOCALHOST), 8));
    unlimited.push((IpAddr::V6(Ipv6Addr::LOCALHOST), 128));
    unlimited
}

/// The settings of the HTTP front.
pub fn web_settings(settings: &Settings) -> web::Settings {
    let networks = settings.server.trusted_proxies.iter();
    web::Settings {
        debug: settings.debug,
        production: settings.environment.is_production(),
        trusted_proxies: networks.map(|net| (net.address, net.prefix)).collect(),
    }
}
