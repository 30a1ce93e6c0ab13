//! Reading HTTP/1.1 responses out of a byte stream: status, length and body, and no more than a load driver needs.

use std::fmt;
use std::ops::Range;

/// Longest head accepted, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Longest body accepted, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// One complete response; the bytes belong to the buffer it was read into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    /// The status code, 100 to 599.
    pub(super) status: u16,
    head: &'a [u8],
    /// The body as sent.
    pub(super) body: &'a [u8],
}

impl<'a> Response<'a> {
    /// The value of the first header of this name, without the white space around it.
    pub(super) fn header(&self, name: &str) -> Option<&'a [u8]> {
        lines(self.head)
            .skip(1)
            .find_map(|line| value_of(line, name))
    }
}

/// Why bytes are not a response that the driver can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The first line is not an HTTP/1 status line.
    StatusLine,
    /// No blank line within the allowed length.
    HeadTooLong,
    /// Neither a length nor a status that has no body.
    NoLength,
    /// A length that is no number, or two different ones.
    BadLength,
    /// A body longer than the driver takes.
    BodyTooLong,
    /// A transfer coding, which otpd never uses: a proxy must have added it.
    TransferEncoding,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StatusLine => "the answer is not HTTP/1",
            Self::HeadTooLong => "the answer's head is too long",
            Self::NoLength => "the answer has no Content-Length",
            Self::BadLength => "the answer's Content-Length is not a number",
            Self::BodyTooLong => "the answer's body is too long",
            Self::TransferEncoding => {
                "the answer has a Transfer-Encoding, which this driver does not read; address the server itself, not a proxy"
            }
        })
    }
}

impl std::error::Error for Malformed {}

/// The bytes of one connection that have arrived and are not yet used up.
#[derive(Debug)]
pub(super) struct ResponseBuffer {
    bytes: Vec<u8>,
    filled: Range<usize>,
}

impl ResponseBuffer {
    /// An empty buffer that holds a usual answer without growing.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; 4096],
            filled: 0..0,
        }
    }

    /// Where to read to; never empty. Say afterwards how much was read with [`Self::arrived`].
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.bytes.len() {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            if self.filled.end * 2 > self.bytes.len() {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        &mut self.bytes[self.filled.end..]
    }

    /// `count` more bytes stand in the space given out last.
    pub(super) fn arrived(&mut self, count: usize) {
        self.filled.end = (self.filled.end + count).min(self.bytes.len());
    }

    /// Whether nothing is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Drops what is left over, for a new connection.
    pub(super) fn clear(&mut self) {
        self.filled = 0..0;
    }

    /// Takes the next complete response out, or nothing when more bytes are needed. Bytes behind it stay
    /// for the next call; its own are read with [`Self::get`] before more arrive.
    ///
    /// # Errors
    /// [`Malformed`]; the connection is of no further use then.
    pub(super) fn next(&mut self) -> Result<Option<Span>, Malformed> {
        loop {
            let Some(mut span) = measure(&self.bytes[self.filled.clone()])? else {
                return Ok(None);
            };
            span.start = self.filled.start;
            self.filled.start += span.head + span.body;
            // 1xx answers only announce the one that counts (RFC 9110, section 15.2).
            if span.status >= 200 {
                return Ok(Some(span));
            }
        }
    }

    /// The response that `span` measures.
    pub(super) fn get(&self, span: &Span) -> Response<'_> {
        let (head, rest) = self.bytes[span.start..].split_at(span.head);
        Response {
            status: span.status,
            head,
            body: &rest[..span.body],
        }
    }
}

/// Where a complete response stands in the buffer.
#[derive(Debug)]
pub(super) struct Span {
    status: u16,
    start: usize,
    /// Length of the head, blank line included.
    head: usize,
    body: usize,
    /// Whether the server ends the connection after this response.
    pub(super) closes: bool,
}

/// Measures the response at the start of `bytes`, or says that it is not complete yet.
fn measure(bytes: &[u8]) -> Result<Option<Span>, Malformed> {
    let mut length = None;
    let mut status = None;
    let mut closes = bytes.starts_with(b"HTTP/1.0");
    let mut at = 0;
    while let Some(line_end) = bytes[at..].iter().position(|&b| b == b'\n') {
        let line = without_cr(&bytes[at..at + line_end]);
        at += line_end + 1;
        let Some(status) = status else {
            status = Some(status_of(line)?);
            continue;
        };
        if line.is_empty() {
            let body = body_length(status, length)?;
            let complete = bytes.len() - at >= body;
            return Ok(complete.then_some(Span {
                status,
                start: 0,
                head: at,
                body,
                closes,
            }));
        }
        if let Some(value) = value_of(line, "content-length") {
            let value = number(value)?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(Malformed::BadLength);
            }
        } else if let Some(value) = value_of(line, "connection") {
            closes |= value.eq_ignore_ascii_case(b"close");
        } else if value_of(line, "transfer-encoding").is_some() {
            return Err(Malformed::TransferEncoding);
        }
    }
    if bytes.len() > MAX_HEAD {
        Err(Malformed::HeadTooLong)
    } else {
        Ok(None)
    }
}

/// The status code of a line like `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Result<u16, Malformed> {
    let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        b'0' | b'1',
        b' ',
        code @ ..,
    ] = line
    else {
        return Err(Malformed::StatusLine);
    };
    match code {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => Ok([a, b, c]
            .into_iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))),
        _ => Err(Malformed::StatusLine),
    }
}

/// How many bytes of body follow (RFC 9112, section 6.3, for requests other than HEAD and CONNECT).
fn body_length(status: u16, length: Option<usize>) -> Result<usize, Malformed> {
    match (status, length) {
        (100..=199 | 204 | 304, _) => Ok(0),
        (_, Some(length)) if length > MAX_BODY => Err(Malformed::BodyTooLong),
        (_, Some(length)) => Ok(length),
        (_, None) => Err(Malformed::NoLength),
    }
}

fn number(value: &[u8]) -> Result<usize, Malformed> {
    if value.is_empty() || value.len() > 15 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::BadLength);
    }
    Ok(value
        .iter()
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// The lines of a head, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|&b| b == b'\n').map(without_cr)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The value of a header line if it has this name, whatever the case.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (key, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    key.eq_ignore_ascii_case(name.as_bytes())
        .then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nhello";

    fn feed(buffer: &mut ResponseBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = buffer.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            buffer.arrived(count);
            bytes = &bytes[count..];
        }
    }

    fn read(text: &str) -> Result<Option<(u16, String)>, Malformed> {
        let mut buffer = ResponseBuffer::new();
        feed(&mut buffer, text.as_bytes());
        let span = buffer.next()?;
        let response = span.map(|span| buffer.get(&span));
        Ok(response.map(|r| (r.status, String::from_utf8(r.body.to_vec()).unwrap())))
    }

    #[test]
    fn responses_are_read_at_every_split() {
        for split in 0..OK.len() {
            let (first, second) = OK.as_bytes().split_at(split);
            let mut buffer = ResponseBuffer::new();
            feed(&mut buffer, first);
            assert!(
                buffer.next().unwrap().is_none(),
                "complete too early at {split}"
            );
            feed(&mut buffer, second);
            let span = buffer.next().unwrap().unwrap();
            let response = buffer.get(&span);
            assert_eq!(
                (response.status, response.body),
                (200, &b"hello"[..]),
                "split at {split}"
            );
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn leftovers_are_the_start_of_the_next_response() {
        let mut buffer = ResponseBuffer::new();
        let many = OK.repeat(300);
        feed(&mut buffer, many.as_bytes());
        feed(&mut buffer, b"HTTP/1.1 204 No");
        for n in 0..300 {
            let span = buffer.next().unwrap().unwrap();
            assert_eq!(buffer.get(&span).body, b"hello", "{n}");
        }
        assert!(buffer.next().unwrap().is_none());
        assert!(!buffer.is_empty());
        feed(&mut buffer, b" Content\r\n\r\n");
        let span = buffer.next().unwrap().unwrap();
        assert_eq!(buffer.get(&span).status, 204);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_body_longer_than_the_buffer_makes_it_grow() {
        let body = "x".repeat(100_000);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}");
        assert_eq!(read(&text), Ok(Some((200, body))));
    }

    fn check(head: &str, expected: Result<Option<(u16, &str)>, Malformed>) {
        let found = read(&format!("{head}\r\n\r\nbody"));
        let expected = expected.map(|r| r.map(|(status, body)| (status, body.to_owned())));
        assert_eq!(found, expected, "{head}");
    }

    #[test]
    fn heads_are_read_whatever_their_spelling() {
        for head in [
            "HTTP/1.1 200 OK\r\nCONTENT-LENGTH:4",
            "HTTP/1.1 200 OK\r\nContent-Length:  4 \t",
            "HTTP/1.1 200 OK\nContent-Length: 4",
            "HTTP/1.0 200\r\ncontent-length: 4",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4",
        ] {
            check(head, Ok(Some((200, "body"))));
        }
        check("HTTP/1.1 204 No Content", Ok(Some((204, ""))));
        check(
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9",
            Ok(Some((304, ""))),
        );
        check("HTTP/1.1 200 OK\r\ncontent-length: 5", Ok(None));
    }

    #[test]
    fn lengths_that_cannot_be_relied_on_are_refused() {
        use Malformed::{BadLength, BodyTooLong, NoLength, TransferEncoding};
        for (headers, expected) in [
            ("x: y", NoLength),
            ("x-content-length: 4", NoLength),
            ("content-length: four", BadLength),
            ("content-length: -1", BadLength),
            ("content-length:", BadLength),
            ("content-length: 4\r\ncontent-length: 5", BadLength),
            ("content-length: 99999999", BodyTooLong),
            ("transfer-encoding: chunked", TransferEncoding),
            (
                "Transfer-Encoding: Chunked\r\nContent-Length: 4",
                TransferEncoding,
            ),
        ] {
            check(&format!("HTTP/1.1 200 OK\r\n{headers}"), Err(expected));
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for head in [
            "HTTP/2 200",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 099 No",
            "HTTP/1.1 600 No",
            "SSH-2.0-x",
        ] {
            check(head, Err(Malformed::StatusLine));
        }
    }

    #[test]
    fn an_endless_head_is_refused() {
        let text = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(read(&text), Err(Malformed::HeadTooLong));
    }

    #[test]
    fn headers_and_the_end_of_a_connection_are_found() {
        let mut buffer = ResponseBuffer::new();
        feed(&mut buffer, b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n");
        let span = buffer.next().unwrap().unwrap();
        assert!(span.closes);
        let response = buffer.get(&span);
        assert_eq!(response.header("retry-after"), Some(&b"2"[..]));
        assert_eq!(response.header("date"), None);
        feed(&mut buffer, OK.as_bytes());
        assert!(!buffer.next().unwrap().unwrap().closes);
        feed(&mut buffer, OK.replace("1.1", "1.0").as_bytes());
        assert!(buffer.next().unwrap().unwrap().closes);
    }
}
