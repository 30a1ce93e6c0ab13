//! A small HTTP/1.1 client that sends exactly what it is told and never sends it twice.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take; what has its own limit is measured by the test.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text()))
    }

    /// The body, provided that the status is the expected one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
}

/// One connection at a time to one server, with one credential.
pub(crate) struct Client {
    address: String,
    credential: Option<String>,
    stream: Option<BufReader<TcpStream>>,
    extra: Vec<(String, String)>,
}

impl Client {
    /// A client of `host:port`, not yet connected.
    pub(crate) fn new(address: &str, credential: Option<&str>) -> Self {
        Self {
            address: address.to_owned(),
            credential: credential.map(str::to_owned),
            stream: None,
            extra: Vec::new(),
        }
    }

    /// Adds headers to the next request, and to that one only.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> &mut Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Opens the connection, so that the next request does not have to.
    pub(crate) fn connect(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        Ok(())
    }

    /// A request without a body.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None).expect("an answer")
    }

    /// A request to remove something.
    #[track_caller]
    pub(crate) fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, None).expect("an answer")
    }

    /// A request with a JSON body.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).expect("an answer")
    }

    /// A request with a JSON body, to a server that may be gone.
    pub(crate) fn try_post(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.send("POST", path, Some(body.to_string().as_bytes()))
    }

    /// Sends one request, once, and reads the answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(credential) = &self.credential {
            request += &format!("Authorization: Bearer {credential}\r\n");
        }
        for (name, value) in self.extra.drain(..) {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request += "\r\n";
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are and reads one answer. A server may answer and close
    /// before it has read everything, so a failed write still leads to a read.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        self.connect()?;
        let Some(mut stream) = self.stream.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        stream.get_ref().set_read_timeout(Some(LIMIT))?;
        let written = stream.get_mut().write_all(bytes);
        let (answer, stays) = match read_answer(&mut stream) {
            Ok(read) => read,
            Err(error) => return Err(written.err().unwrap_or(error)),
        };
        if stays && written.is_ok() {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// The answer, and whether the connection stays open after it.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let status = read_line(stream)?;
    let broken = || io::Error::other(format!("not HTTP: {status}"));
    let code = status.split(' ').nth(1).ok_or_else(broken)?;
    let code = code.parse().map_err(|_| broken())?;
    let mut answer = Answer {
        status: code,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let entry = (name.to_ascii_lowercase(), value.trim().to_owned());
        answer.headers.push(entry);
    }
    if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body)?;
    } else if answer.header("transfer-encoding") == Some("chunked") {
        read_chunks(stream, &mut answer.body)?;
    }
    let stays = answer.header("connection") != Some("close");
    Ok((answer, stays))
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = read_line(stream)?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        read_line(stream)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Lets all clients act at one moment, each on its own open connection; the results
/// come in the order of the clients.
pub(crate) fn at_once<T: Send>(
    clients: &mut [Client],
    act: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let start = Barrier::new(clients.len());
    let (start, act) = (&start, &act);
    std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(place, client)| {
                scope.spawn(move || {
                    let connected = client.connect();
                    start.wait();
                    connected.expect("a connection");
                    act(place, client)
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, T>| thread.join().expect("a result");
        threads.into_iter().map(join).collect()
    })
}
