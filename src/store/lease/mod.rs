//! Which one of several processes on one root directory keeps house: evicts, expires, scrubs, writes the index.
//!
//! The directory may be one of a network: no locks of files, which old NFS forgets, and no comparison of the
//! clocks of hosts. The holder has a line in `<root>/lease` and moves the counter in it at every tick. Whoever
//! waits looks at the line: if it stays the same for ten seconds of its own clock, its writer is taken for dead.
//!
//! ```text
//!              no file: linked there, exclusively
//!      ╭──────────────────────────────────────────────╮
//!      │   same line for 10 s, or              still  ▼
//!   Waiting ───────────────────────▶ Taking ───────▶ Holding
//!      ▲    writer provably dead:       │   there      │
//!      │    renamed over it             │              │
//!      ╰──────── another's line ────────┴──────────────╯
//! ```
//!
//! Two that take over at once both rename, and the last one finds its line at its next tick. A holder that was
//! stopped, and was taken for dead, finds another's line at its next tick. What both did meanwhile is harmless:
//! to delete what is deleted is a miss. So it is soft in every case of doubt, but for one: somebody must hold it.
//! Whoever cannot write, since the disk is full or read-only, holds it without a line, because a full disk needs
//! the eviction most, until it sees a line that moves.
//!
//! A line is renewed in place, in the very file that was found to be one's own, and another's is replaced by
//! rename: so a holder that was stopped between its look and its write writes into a file that has no name any
//! more, instead of taking the lease back. In place it also needs no room on a full disk. The file is opened anew
//! each time: NFS shows others what was written when it is closed, and shows what others wrote when it is opened.
//!
//! Whoever waits says so in `<root>/lease.waiting`, in the same way, for the holder to know that it has company.

mod identity;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use identity::Identity;

/// How long a line stays the same before its writer is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// How often [`Lease::tick`] wants to be called.
pub(super) const TICK_EVERY: Duration = Duration::from_secs(1);
/// As much of a file as is looked at, in bytes: more than any line.
const LINE_BYTES_MAX: usize = 512;

/// One process' share in a lease.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    /// Where a line is written before it takes the place of another.
    next: PathBuf,
    /// Where those who wait say so.
    waiting: PathBuf,
    me: Identity,
    /// What only our own lines begin with.
    prefix: String,
    /// Of the last line we wrote.
    counter: u64,
    state: State,
    /// The line of somebody who waits, while we hold.
    company: Option<Seen>,
    /// Our line could not be written, and that was said.
    is_failing: bool,
    /// Another's line was seen to change: somebody keeps house.
    is_alive: bool,
}

#[derive(Debug)]
enum State {
    /// Somebody else holds it, as far as is known.
    Waiting(Seen),
    /// We put our line in place of a dead one's; it is ours if it is still there at the next tick.
    Taking,
    /// It is ours. If our line could not be written, `despite` is what stood there instead, and was dead.
    Holding { despite: Option<Content> },
}

/// What was seen at a path, and since when it has been the same.
#[derive(Clone, Debug)]
struct Seen {
    content: Content,
    since: Instant,
}

/// What can be seen at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Absent,
    /// The beginning of a file, be it a line or garbage.
    Bytes(Vec<u8>),
    Unreadable(io::ErrorKind),
}

/// Whether this process keeps house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does, and did not at the last call: what another did meanwhile is not known.
    BecameHolder,
    /// It does.
    Holder,
    /// Another does, or will be found dead.
    Waiting,
}

impl Lease {
    /// Joins those who share `root`. Holds at once if there is no lease, or its holder is known to be dead.
    ///
    /// Never fails: see above. Before the first tick, [`Lease::is_holder`] says what came of it.
    pub(super) fn claim(root: &Path, now: Instant) -> Self {
        Self::claim_as(Identity::of_this_process(), root, now)
    }

    fn claim_as(me: Identity, root: &Path, now: Instant) -> Self {
        let content = Content::Absent;
        let mut lease = Self {
            path: root.join("lease"),
            next: root.join("lease.next"),
            waiting: root.join("lease.waiting"),
            prefix: me.prefix(),
            me,
            counter: 0,
            state: State::Waiting(Seen {
                content,
                since: now,
            }),
            company: None,
            is_failing: false,
            is_alive: false,
        };
        lease.tick(now);
        if matches!(lease.state, State::Taking) {
            lease.tick(now);
        }
        lease
    }

    /// Renews the lease, waits for it or takes it over. May block on disk; wants to be called every
    /// [`TICK_EVERY`]: who is ten seconds late is taken for dead.
    pub(super) fn tick(&mut self, now: Instant) -> Standing {
        let content = self.look();
        self.act(content, now)
    }

    /// Says whether this process kept house at the last tick.
    pub(super) const fn is_holder(&self) -> bool {
        matches!(self.state, State::Holding { .. })
    }

    /// Says whether other processes share the directory, as far as is known: one that has ended without a word
    /// counts for ten seconds more, one that cannot write does not.
    pub(super) const fn has_company(&self) -> bool {
        !self.is_holder() || self.company.is_some()
    }

    /// Says whether another process is known to keep house. One that waits may wait for a dead one.
    pub(super) const fn knows_keeper(&self) -> bool {
        !self.is_holder() && self.is_alive
    }

    /// Leaves the lease to the next one, at once.
    pub(super) fn release(self) {
        for path in [&self.path, &self.waiting] {
            if self.is_mine(&look_at(path)) {
                drop(fs::remove_file(path));
            }
        }
    }

    fn look(&self) -> Content {
        look_at(&self.path)
    }

    /// Does what follows from what was just seen.
    fn act(&mut self, content: Content, now: Instant) -> Standing {
        let since = now;
        let nothing = Seen {
            content: Content::Absent,
            since,
        };
        let was_holder = self.is_holder();
        self.state = match std::mem::replace(&mut self.state, State::Taking) {
            State::Waiting(seen) => self.wait(seen, content, now),
            State::Taking => self.wait(nothing, content, now),
            State::Holding { despite } => self.hold(despite, content, now),
        };
        self.meet(now);
        let lease = self.path.display();
        match (was_holder, &self.state) {
            (true, State::Holding { .. }) => Standing::Holder,
            (false, State::Holding { .. }) => {
                tracing::info!(%lease, "this process keeps house in the store");
                Standing::BecameHolder
            }
            (true, State::Waiting(Seen { content, .. })) => {
                let holder = String::from_utf8_lossy(content.bytes());
                tracing::warn!(%lease, holder = holder.trim_end(), "another process keeps house in the store by now");
                Standing::Waiting
            }
            _ => Standing::Waiting,
        }
    }

    fn wait(&mut self, seen: Seen, content: Content, now: Instant) -> State {
        if self.is_mine(&content) {
            return self.renew();
        }
        if content == Content::Absent {
            return match self.put_first() {
                Ok(()) => self.see(now),
                // The directory is gone, or somebody else is about to do the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => State::Waiting(seen),
                Err(error) => self.hold_unwritten(None, &error),
            };
        }
        let is_same = content == seen.content;
        self.is_alive |= !is_same && seen.content != Content::Absent;
        let is_late = is_same && now.saturating_duration_since(seen.since) >= DEAD_AFTER;
        if is_late || self.me.knows_dead(content.bytes()) {
            return match self.put_over(&content) {
                Ok(true) => State::Taking,
                Ok(false) => self.see(now),
                Err(error) if error.kind() == io::ErrorKind::NotFound => State::Waiting(seen),
                Err(error) => self.hold_unwritten(Some(content), &error),
            };
        }
        let since = if is_same { seen.since } else { now };
        State::Waiting(Seen { content, since })
    }

    fn hold(&mut self, despite: Option<Content>, content: Content, now: Instant) -> State {
        if self.is_mine(&content) {
            return self.renew();
        }
        let is_dead = despite.as_ref() == Some(&content);
        match content {
            Content::Absent => match self.put_first() {
                Ok(()) => self.see(now),
                Err(error) => self.hold_unwritten(None, &error),
            },
            _ if is_dead => match self.put_over(&content) {
                Ok(_) => self.see(now),
                Err(error) => self.hold_unwritten(Some(content), &error),
            },
            // It may be ours.
            Content::Unreadable(_) => State::Holding { despite },
            Content::Bytes(_) => State::Waiting(Seen {
                content,
                since: now,
            }),
        }
    }

    /// Looks whose line is there, after ours was put there or somebody else's was seen to be new.
    fn see(&mut self, now: Instant) -> State {
        let content = self.look();
        if self.is_mine(&content) {
            self.is_failing = false;
            return State::Holding { despite: None };
        }
        State::Waiting(Seen {
            content,
            since: now,
        })
    }

    fn hold_unwritten(&mut self, despite: Option<Content>, error: &io::Error) -> State {
        self.failed(error);
        State::Holding { despite }
    }

    /// Moves the counter of our line. If that fails the lease is still ours: nobody else can have written.
    fn renew(&mut self) -> State {
        let renewed = self.write_again();
        match renewed {
            Ok(()) => self.is_failing = false,
            Err(error) => self.failed(&error),
        }
        State::Holding { despite: None }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(lease = %self.path.display(), %error, "the lease cannot be written; this process keeps house until it sees that another one does");
        }
    }

    /// Writes our line over our line, in the same file. Does nothing if it is another's by now.
    fn write_again(&mut self) -> io::Result<()> {
        let file = options().write(true).open(&self.path)?;
        if self.is_mine(&content_of(&file)) {
            let line = self.line();
            file.write_all_at(line.as_bytes(), 0)?;
        }
        Ok(())
    }

    /// Puts our line where there is none. Success means that some line is there; whose, is for a look to tell.
    fn put_first(&mut self) -> io::Result<()> {
        self.write_next()?;
        let linked = match fs::hard_link(&self.next, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // No links here, or nothing to link.
            Err(_) if self.look() == Content::Absent => fs::rename(&self.next, &self.path),
            _ => Ok(()),
        };
        drop(fs::remove_file(&self.next));
        linked
    }

    /// Puts our line in place of `dead`, if that is still there; says whether it did.
    fn put_over(&mut self, dead: &Content) -> io::Result<bool> {
        self.write_next()?;
        let is_there = self.look() == *dead;
        let renamed = match is_there {
            true => fs::rename(&self.next, &self.path),
            false => Ok(()),
        };
        if !is_there || renamed.is_err() {
            drop(fs::remove_file(&self.next));
        }
        renamed.map(|()| is_there)
    }

    /// Writes our line to a file of its own. Two that do so at once take it away from each other: one line gets
    /// into its place, or none, and the other call fails or finds that it is not its own.
    fn write_next(&mut self) -> io::Result<()> {
        match fs::remove_file(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let line = self.line();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&self.next)?;
        // NFS says only here that the disk is full: an empty file must not take the place of a line.
        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_data());
        if written.is_err() {
            drop(fs::remove_file(&self.next));
        }
        written
    }

    /// Sees whether others wait, or says that we do.
    fn meet(&mut self, now: Instant) {
        if !self.is_holder() {
            self.company = None;
            // The holder cannot know of whoever cannot write.
            drop(self.announce());
            return;
        }
        let content = look_at(&self.waiting);
        let since = match &self.company {
            Some(seen) if seen.content == content => seen.since,
            _ => now,
        };
        let is_over = now.saturating_duration_since(since) >= DEAD_AFTER || self.is_mine(&content);
        if is_over {
            drop(fs::remove_file(&self.waiting));
        }
        let is_somebody = !is_over && content != Content::Absent;
        self.company = is_somebody.then_some(Seen { content, since });
    }

    /// Writes our line over whatever line is in the file of those who wait: any change of it counts.
    fn announce(&mut self) -> io::Result<()> {
        let line = self.line();
        let file = options()
            .write(true)
            .create(true)
            .mode(0o640)
            .open(&self.waiting)?;
        file.write_all_at(line.as_bytes(), 0)?;
        file.set_len(line.len() as u64)
    }

    /// Returns our next line.
    fn line(&mut self) -> String {
        self.counter += 1;
        self.me.line(self.counter)
    }

    fn is_mine(&self, content: &Content) -> bool {
        content.bytes().starts_with(self.prefix.as_bytes())
    }
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Absent | Self::Unreadable(_) => &[],
        }
    }
}

/// Returns how files are opened here: to read, without waiting if somebody put a pipe there, and without
/// following a link, which may lead nowhere and would be neither absent nor in anybody's hands.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    options.read(true).custom_flags(flags.bits().cast_signed());
    options
}

fn look_at(path: &Path) -> Content {
    match options().open(path) {
        Ok(file) => content_of(&file),
        Err(error) if super::is_vanished(&error) => Content::Absent,
        Err(error) => Content::Unreadable(error.kind()),
    }
}

fn content_of(file: &File) -> Content {
    let mut bytes = vec![0; LINE_BYTES_MAX];
    match file.read_at(&mut bytes, 0) {
        Ok(count) => {
            bytes.truncate(count);
            Content::Bytes(bytes)
        }
        Err(error) => Content::Unreadable(error.kind()),
    }
}
