//! The terminal: its second screen, keys without Enter, and all of it as it was before, however it ends.
//!
//! No crate for terminals: lines that are drawn over and one key need eight escape sequences, which every
//! terminal of the last thirty years knows.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::low_level::pipe;

use super::frame::Size;

/// The second screen, no cursor, and no line that goes on in the next row.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the first row; a line's rest; all below.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// What a wait was ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time for the next frame has come.
    Next,
    /// The window has another size.
    Resized,
    /// A key or a signal that ends it.
    End,
}

/// A terminal that was taken; dropping it gives it back.
pub(super) struct Screen {
    before: Termios,
    /// Has a byte for each signal to end.
    ends: UnixStream,
    /// Has a byte for each change of the window.
    resizes: UnixStream,
}

impl Screen {
    /// Takes the terminal of standard input and output.
    ///
    /// # Errors
    /// It is none, or is gone.
    pub(super) fn take() -> io::Result<Self> {
        let (ends, resizes) = (wake_on(&[SIGINT, SIGTERM, SIGHUP])?, wake_on(&[SIGWINCH])?);
        let before = tcgetattr(io::stdin())?;
        let screen = Self {
            before,
            ends,
            resizes,
        };
        // Ctrl-C stays a signal.
        let mut keys = screen.before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        say(ENTER)?;
        Ok(screen)
    }

    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(
            Size {
                columns: 80,
                rows: 24,
            },
            |size| Size {
                columns: size.ws_col.into(),
                rows: size.ws_row.into(),
            },
        )
    }

    /// Draws these lines over what is there.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let text = lines.join(&format!("{CLEAR_LINE}\r\n"));
        say(&format!("{HOME}{text}{CLEAR_LINE}{CLEAR_BELOW}"))
    }

    /// Waits for a key, a signal, or until `next`.
    pub(super) fn wait(&mut self, next: Instant) -> Woken {
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let stdin = io::stdin();
            let mut waited = [
                PollFd::new(&stdin, PollFlags::IN),
                PollFd::new(&self.ends, PollFlags::IN),
                PollFd::new(&self.resizes, PollFlags::IN),
            ];
            match poll(&mut waited, left.as_ref()) {
                Ok(0) => return Woken::Next,
                // A signal has its byte in a pipe by now.
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return Woken::End,
                Ok(_) => {}
            }
            let [key, end, resize] = waited.map(|one| !one.revents().is_empty());
            if end || (key && self.is_last_key()) {
                return Woken::End;
            }
            if resize {
                let _ = self.resizes.read(&mut [0; 64]);
                return Woken::Resized;
            }
        }
    }

    /// Reads a key; so is the end of all keys.
    fn is_last_key(&self) -> bool {
        let mut key = [0; 16];
        match rustix::io::read(io::stdin(), &mut key) {
            Ok(0) | Err(_) => true,
            Ok(count) => key[..count].iter().any(|key| b"qQ".contains(key)),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Who has closed the terminal needs nothing back.
        let _ = say(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Returns what can be read from once one of these signals has come.
fn wake_on(signals: &[i32]) -> io::Result<UnixStream> {
    let (here, there) = UnixStream::pair()?;
    here.set_nonblocking(true)?;
    there.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, there.try_clone()?)?;
    }
    Ok(here)
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
