//! Where lines go: a file that rotates, standard output, or journald.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::format::Object;
use super::options::Target;

/// Where journald takes records.
///
/// Source: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What is written to.
#[derive(Debug)]
pub(super) enum Output {
    Stream(File),
    Rotated(Rotated),
    Journal { socket: UnixDatagram, path: PathBuf },
}

impl Output {
    /// Opens what `target` names.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                Ok(Self::Stream(stdout.into()))
            }
            Target::Journald => Self::journal(Path::new(JOURNAL)),
            Target::File {
                path,
                rotate_bytes,
                rotate_keep,
            } => {
                let rotated = Rotated::open(path, *rotate_bytes, *rotate_keep);
                rotated.map(Self::Rotated).map_err(|error| {
                    let path = path.display();
                    io::Error::new(error.kind(), format!("{path}: {error}"))
                })
            }
        }
    }

    fn journal(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            let text = format!("journald is not here: {} is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let socket = UnixDatagram::unbound()?;
        let path = path.to_owned();
        Ok(Self::Journal { socket, path })
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(file) => file.write_all(lines),
            Self::Rotated(rotated) => rotated.write(lines),
            Self::Journal { .. } => Ok(()),
        }
    }

    /// Opens a file again by its name, as it may have been moved away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Rotated(rotated) => rotated.reopen(),
            Self::Stream(_) | Self::Journal { .. } => Ok(()),
        }
    }
}

/// Sends one record to journald. The path each time: journald may have been started anew.
pub(super) fn send(socket: &UnixDatagram, path: &Path, record: &[u8]) -> io::Result<()> {
    socket.send_to(record, path).map(drop)
}

/// Writes a record of journald: `NAME=value` lines. `message` and the values hold no line ends: what a client
/// sent is escaped in the one, and in JSON's way in the others.
pub(super) fn record(message: &[u8], object: &Object<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PRIORITY=6\nSYSLOG_IDENTIFIER=transship\nMESSAGE=");
    out.extend_from_slice(message.trim_ascii_end());
    out.push(b'\n');
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(object) else {
        return;
    };
    for (name, value) in fields {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.replace(char::is_control, "\u{fffd}"),
            other => other.to_string(),
        };
        let name = name.to_ascii_uppercase();
        // Writing to memory cannot fail.
        let _ = writeln!(out, "TRANSSHIP_{name}={value}");
    }
}

/// A file that is moved away when it has grown, `PATH` to `PATH.1` and so on.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    file: File,
    /// A named pipe, or a device, has no size and no name to give away.
    is_regular: bool,
    bytes: u64,
    bytes_max: u64,
    keep: u32,
    /// The last write failed within a line.
    is_torn: bool,
}

impl Rotated {
    fn open(path: &Path, bytes_max: u64, keep: u32) -> io::Result<Self> {
        let (file, is_regular, bytes) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_regular,
            bytes,
            bytes_max,
            keep,
            is_torn: false,
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.is_regular, self.bytes) = open(&self.path)?;
        self.is_torn = false;
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let is_over = self.bytes_max > 0 && self.bytes + lines.len() as u64 > self.bytes_max;
        if self.is_regular && is_over && self.bytes > 0 {
            // What cannot be moved goes on growing, and is tried again when it has grown as much once more.
            self.bytes = 0;
            self.rotate()?;
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        self.is_torn = true;
        self.file.write_all(lines)?;
        self.is_torn = false;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.keep).rev() {
            let moved = fs::rename(numbered(number), numbered(number + 1));
            moved.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        match self.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, numbered(1))?,
        }
        self.reopen()
    }
}

/// Opens `path` for appending; says whether it is a regular file, and how large.
fn open(path: &Path) -> io::Result<(File, bool, u64)> {
    let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let mut options = OpenOptions::new();
    // With its other end open as well, a pipe that nobody reads can be opened, and fills up.
    let options = options.create(true).append(true).read(is_pipe);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata.is_file(), metadata.len()))
}
