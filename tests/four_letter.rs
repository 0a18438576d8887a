//! Four-letter commands: four bytes out, text in until the server closes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take; only a hang gets near it.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Sends a command and gives everything the server says until it closes.
///
/// # Errors
/// When the connection fails, or the answer is no UTF-8.
pub fn ask(address: SocketAddr, command: &str) -> io::Result<String> {
    ask_bytes(address, command.as_bytes(), ANSWER_LIMIT)
}

/// As `ask`, with any bytes (`stmk` carries eight more) and with a limit for each read.
///
/// # Errors
/// As `ask`.
pub fn ask_bytes(address: SocketAddr, command: &[u8], limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    stream.write_all(command)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    String::from_utf8(answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
