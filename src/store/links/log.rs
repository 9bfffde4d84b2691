//! The log of links on disk: read at start, appended to at each checkpoint, written anew when most of it
//! means nothing any more or some of it may be lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::line::{self, HEADER, Record};
use super::table::Table;
use crate::digest::Digest;

/// Lines that may be there besides twice the links before a running process writes the log anew: a small
/// log is not worth an `fsync`.
const SLACK_LINES: usize = 1024;

/// One log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Where the next line goes: behind the last one that was written whole.
    end: u64,
    /// Lines in the file, those included that mean nothing any more.
    lines: usize,
    /// Something of it may be damaged, missing or too much.
    is_doubtful: bool,
    /// The last try to write failed, and that was said.
    is_failing: bool,
}

impl Log {
    /// Opens the log and fills `table` from it, without links of digests that are not `stored`.
    pub(super) fn open(
        path: PathBuf,
        table: &Table,
        stored: impl Fn(&Digest) -> bool,
    ) -> io::Result<Self> {
        let mut log = Self {
            path,
            end: 0,
            lines: 0,
            is_doubtful: false,
            is_failing: false,
        };
        let file = match File::open(&log.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            Err(error) => {
                log.take(Err(error), table)?;
                return Ok(log);
            }
        };
        let found = line::read(&mut BufReader::new(file), |record| match record {
            Record::Link { repository, digest } if stored(digest) => {
                table.insert(repository, digest, || {});
            }
            Record::Link { .. } => {}
            Record::Unlink { digest } => table.remove(digest, || {}),
        });
        log.take(found, table)?;
        Ok(log)
    }

    /// Takes note of what was read.
    fn take(&mut self, found: io::Result<line::Found>, table: &Table) -> io::Result<()> {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the links of repositories could not be read to their end; the origin is asked for the others");
                // Wherever it ends: whatever is appended goes behind it, and then it is judged anew.
                self.end = u64::MAX;
                self.is_doubtful = true;
                return Ok(());
            }
        };
        if let Some(version) = &found.other_version {
            return self.set_aside(version);
        }
        self.end = found.bytes;
        self.lines = found.lines;
        let damaged = found.damaged;
        if damaged > 0 {
            let path = self.path.display();
            tracing::warn!(%path, damaged, links = table.len(), "lines of the links of repositories were damaged and skipped; the origin is asked for them");
        }
        if damaged > 0 || self.lines > 2 * table.len() {
            self.is_doubtful = true;
            if let Err(error) = self.rewrite_if_due(table) {
                self.failed(&error);
            }
        }
        Ok(())
    }

    /// Gives a log of another version another name, so that a transship that knows it can be given it back.
    fn set_aside(&self, version: &str) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".version-{version}"));
        let aside = PathBuf::from(aside);
        tracing::warn!(
            path = %self.path.display(),
            version,
            kept_as = %aside.display(),
            "the links of repositories were written by another version of transship: set aside, and the origin is asked anew"
        );
        fs::rename(&self.path, &aside).map_err(|error| crate::store::about(&self.path, &error))
    }

    /// Appends whole lines. A try that fails in the middle is written over by the next one.
    pub(super) fn append(&mut self, bytes: &[u8], lines: usize) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = open_to_write(&self.path, false)?;
        let length = file.metadata()?.len();
        let is_cut = length < self.end;
        if is_cut {
            // Somebody cut or removed it: what is left is judged line by line when it is written anew.
            self.end = length;
            self.is_doubtful = true;
        }
        file.set_len(self.end)?;
        let before: &[u8] = match self.end {
            0 => HEADER,
            _ if is_cut => b"\n",
            _ => b"",
        };
        file.write_all_at(&[before, bytes].concat(), self.end)?;
        self.end += (before.len() + bytes.len()) as u64;
        self.lines += lines;
        Ok(())
    }

    /// Writes the log anew if it is doubtful or mostly means nothing; says whether it did.
    pub(super) fn rewrite_if_due(&mut self, table: &Table) -> io::Result<bool> {
        if !self.is_doubtful && self.lines <= 2 * table.len() + SLACK_LINES {
            return Ok(false);
        }
        let next = self.path.with_extension("next");
        let written = rewrite(&self.path, &next, table);
        if written.is_err() {
            drop(fs::remove_file(&next));
        }
        (self.end, self.lines) = written?;
        self.is_doubtful = false;
        Ok(true)
    }

    /// Has the log written anew at the next chance.
    pub(super) const fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Says that the log could not be written, once until it can.
    pub(super) fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(path = %self.path.display(), %error, "the links of repositories could not be written and stay in memory; tried again at each checkpoint");
        }
    }

    /// Notes that the log could be written.
    pub(super) fn recovered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(path = %self.path.display(), "the links of repositories are written again");
        }
    }
}

/// Writes those links of the log at `path` that are in `table` to `next`, forces them to the medium and
/// puts them in the log's place. Returns the length in bytes and in lines.
///
/// Links are made and removed meanwhile. Their lines are pending and are appended to the new log, and
/// whatever part of their effect is in it already, they lead to the same end.
fn rewrite(path: &Path, next: &Path, table: &Table) -> io::Result<(u64, usize)> {
    let mut output = BufWriter::new(open_to_write(next, true)?);
    output.write_all(HEADER)?;
    let mut end = HEADER.len() as u64;
    let written = Table::default();
    let mut bytes = Vec::new();
    let mut outcome = Ok(());
    let mut copy = |record: &Record<'_>| {
        let Record::Link { repository, digest } = record else {
            return;
        };
        if outcome.is_ok()
            && table.holds(repository, digest)
            && written.insert(repository, digest, || {})
        {
            bytes.clear();
            record.encode(&mut bytes);
            outcome = output.write_all(&bytes);
            end += bytes.len() as u64;
        }
    };
    match File::open(path) {
        Ok(file) => {
            if let Err(error) = line::read(&mut BufReader::new(file), &mut copy) {
                tracing::warn!(path = %path.display(), %error, "a part of the links of repositories cannot be read any more; the origin is asked for it");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    outcome?;
    output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(next, path)?;
    Ok((end, written.len()))
}

fn open_to_write(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o640)
        .open(path)
}
