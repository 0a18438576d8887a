//! The server's log lines, as part of a run's story: caught per thread while a server has its turn, and only when somebody
//! reads the story.

use std::cell::RefCell;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    static CAUGHT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Catch;

impl io::Write for Catch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAUGHT.with_borrow_mut(|caught| caught.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Catch {
    type Writer = Catch;

    fn make_writer(&'a self) -> Catch {
        Catch
    }
}

/// Does something, and returns what it has logged.
pub fn catch(act: impl FnOnce()) -> Vec<String> {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| Catch)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let caught = CAUGHT.take();
    String::from_utf8_lossy(&caught).lines().map(|line| line.trim().to_owned()).collect()
}
