//! The bare handler that otpd is measured against: the same HTTP library, the same JSON in and out, and nothing between.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// What the process says once it listens, before its address.
const READY: &str = "listening on ";

/// Where the bare handler listens.
#[derive(Args, Clone, Debug)]
pub struct BareArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

/// The body of a verification.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    device_id: String,
    otp: String,
}

/// The body of its answer, member for member that of otpd.
#[derive(Serialize)]
struct Answer {
    success: bool,
    message: &'static str,
    data: Verdict,
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    reason: Option<&'static str>,
    retry_after: Option<u32>,
    attempts_remaining: u32,
    assertion: Option<&'static str>,
}

/// Serves until the process is ended, and says first where.
///
/// # Errors
/// When the address is taken.
pub fn serve(args: &BareArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        let address = listener.local_addr()?;
        let mut out = std::io::stdout();
        writeln!(out, "{READY}http://{address}")?;
        out.flush()?;
        use axum::serve::ListenerExt as _;
        // As the server does: else answers would wait for acknowledgements.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router()).await?;
        Ok(())
    })
}

fn router() -> Router {
    Router::new()
        .route("/livez", get(async || "{}"))
        .route("/api/v1/otp/verify", post(verify))
}

/// Both members are looked at, so that nothing of the parsing can be left out.
async fn verify(Json(question): Json<Question>) -> Json<Answer> {
    Json(Answer {
        success: true,
        message: "OTP verification completed",
        data: Verdict {
            valid: !question.device_id.is_empty() && question.otp.len() == 6,
            reason: None,
            retry_after: None,
            attempts_remaining: 5,
            assertion: None,
        },
    })
}

/// A process of its own that serves the bare handler; dropping it ends the process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Where it listens.
    pub(super) url: String,
}

impl Process {
    /// Starts this very program as a bare handler and waits until it listens.
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut child = Command::new(program)
            .arg("bench-bare")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare handler")?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let url = line.trim().strip_prefix(READY).unwrap_or_default();
        let process = Self {
            url: url.to_owned(),
            child,
        };
        ensure!(!process.url.is_empty(), "the bare handler did not start");
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
pub(super) fn start_in_this_process() -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || runtime.block_on(axum::serve(listener, router()).into_future()));
    address
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn asked(body: &str) -> (u16, String) {
        let request = Request::post("/api/v1/otp/verify")
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_answers_as_otpd_does_byte_for_byte() {
        let (status, body) = asked(r#"{"device_id":"my-phone","otp":"123456"}"#).await;
        let expected = r#"{"success":true,"message":"OTP verification completed","data":{"valid":true,"reason":null,"retry_after":null,"attempts_remaining":5,"assertion":null}}"#;
        assert_eq!((status, body.as_str()), (200, expected));
    }

    #[tokio::test]
    async fn it_really_parses() {
        for (body, expected) in [
            (r#"{"device_id":"my-phone"}"#, 422),
            (r#"{"device_id":"d","otp":"123456","x":1}"#, 422),
            ("{", 400),
        ] {
            assert_eq!(asked(body).await.0, expected, "{body}");
        }
    }
}
