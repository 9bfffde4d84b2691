//! `transship top`: a running server, looked at again and again.
//!
//! ```text
//!  GET /v1/live ─▶ frame: two answers and a size ─▶ lines ─┬▶ screen     a terminal: drawn over, until `q`
//!                                                          ╰▶ a stream   anything else: one after the other
//! ```

mod frame;
mod screen;

use std::io::{IsTerminal as _, Write};
use std::time::Instant;

use serde_json::Value;

use super::args;
use super::remote::{Failure, Server};
use frame::Size;
use screen::{Screen, Woken};

/// How large a frame is where there is no terminal: wide enough for a digest, as long as it needs.
const UNBOUNDED: Size = Size {
    columns: 120,
    rows: 200,
};

/// Shows frames until it is told to end.
///
/// # Errors
/// The first answer failed, or a later one where nobody watches.
pub(super) fn run(server: &Server, top: &args::Top, out: &mut dyn Write) -> Result<(), Failure> {
    // Before the screen is taken: why there is no server is told on the screen that was there.
    let first = server.get("/v1/live")?;
    if !server.is_json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        let taken = Screen::take();
        let mut screen =
            taken.map_err(|error| Failure::Refused(format!("the terminal: {error}")))?;
        watch(server, top, first, &mut screen);
        return Ok(());
    }
    stream(server, top, first, out)
}

/// Prints frames, or answers; whoever reads them ends it by going away.
fn stream(
    server: &Server,
    top: &args::Top,
    first: Value,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut now, mut then) = (first, Value::Null);
    for shown in 1_u64.. {
        let written = match server.is_json {
            true => writeln!(out, "{now}"),
            false => {
                let lines = frame::render(&then, &now, UNBOUNDED);
                writeln!(out, "{}\n", lines.join("\n"))
            }
        };
        if shown == top.count || written.and_then(|()| out.flush()).is_err() {
            break;
        }
        std::thread::sleep(top.interval);
        then = std::mem::replace(&mut now, server.get("/v1/live")?);
    }
    Ok(())
}

/// Draws frames until `q` or a signal. A server that does not answer may be back at the next one.
fn watch(server: &Server, top: &args::Top, first: Value, screen: &mut Screen) {
    let (mut now, mut then) = (first, Value::Null);
    let mut trouble: Option<String> = None;
    for shown in 1_u64.. {
        let next = Instant::now() + top.interval;
        loop {
            let size = screen.size();
            let mut lines = frame::render(&then, &now, size);
            if let Some(trouble) = &trouble {
                lines.truncate(size.rows.saturating_sub(1));
                lines.insert(0, frame::cut(trouble, size.columns));
            }
            if screen.draw(&lines).is_err() || shown == top.count {
                return;
            }
            match screen.wait(next) {
                Woken::End => return,
                Woken::Resized => {}
                Woken::Next => break,
            }
        }
        match server.get("/v1/live") {
            Ok(answer) => {
                trouble = None;
                then = std::mem::replace(&mut now, answer);
            }
            Err(failure) => trouble = Some(format!("{failure}; what is shown is older")),
        }
    }
}
