//! TLS towards clients: certificates that are read again when their files change, while connections run.
//!
//! New handshakes take the configuration that is there when they begin; running connections keep theirs.
//! What cannot be used never replaces what can. Files change one after the other, so a set that does not
//! fit together is tried again and only told of once it has stopped changing.

mod any_client;
mod read;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls_pki_types::CertificateDer;

use super::Tls;
use crate::limits::CERTIFICATES_SETTLE_LOOKS;
use crate::metrics::{Metrics, ReloadOutcome};
use crate::rt::Stamp;
use read::{About, Files};

/// The certificates in use, and how far their files have been followed.
#[derive(Debug)]
pub(super) struct Certificates {
    options: Tls,
    metrics: Metrics,
    config: ArcSwap<ServerConfig>,
    /// Held while files are read, so that the last to read is the last to replace.
    watch: Mutex<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// As they were before they were last read.
    stamps: Vec<Option<Stamp>>,
    state: State,
    /// Opens the tickets that it sealed. A ticket spares a client to show its certificate, so new
    /// authorities of clients get a new one.
    ticketer: Arc<dyn ProducesTickets>,
    authorities: Vec<CertificateDer<'static>>,
}

/// What is known of the files as `stamps` has them.
#[derive(Debug)]
enum State {
    /// In use, or told of.
    Done,
    /// Of no use when last read. Told of unless something changes within this many looks.
    Unsettled { looks: u32 },
}

impl Certificates {
    /// Reads all files.
    pub(super) fn read(options: Tls, metrics: Metrics) -> io::Result<Self> {
        let stamps = stamps(&options);
        let files = Files::read(&options)?;
        let about = files.about()?;
        let authorities = files.authorities.clone();
        let ticketer = Ticketer::new().map_err(io::Error::other)?;
        let config = files.config(&options, Arc::clone(&ticketer))?;
        tracing::info!(certificate = %options.certificate.display(), "serving TLS {about}");
        metrics.certificate().set_expiry(about.expires);
        Ok(Self {
            options,
            metrics,
            config: ArcSwap::from_pointee(config),
            watch: Mutex::new(Watch {
                stamps,
                state: State::Done,
                ticketer,
                authorities,
            }),
        })
    }

    /// Returns what a new handshake is made from.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again if they have changed. To be called now and then.
    pub(super) fn look(&self) {
        let mut watch = self.watch.lock();
        let stamps = stamps(&self.options);
        let has_changed = stamps != watch.stamps;
        watch.stamps = stamps;
        if !has_changed && matches!(watch.state, State::Done) {
            return;
        }
        let outcome = self.replace(&mut watch);
        watch.state = match (outcome, &watch.state) {
            (Ok(()), _) => State::Done,
            (Err(error), State::Unsettled { looks: ..=1 }) if !has_changed => {
                self.tell(&error);
                State::Done
            }
            (Err(_), State::Unsettled { looks }) if !has_changed => {
                State::Unsettled { looks: looks - 1 }
            }
            (Err(_), _) => State::Unsettled {
                looks: CERTIFICATES_SETTLE_LOOKS,
            },
        };
    }

    /// Reads the files again, changed or not, and tells at once what is wrong with them.
    pub(super) fn reread(&self) {
        let mut watch = self.watch.lock();
        watch.stamps = stamps(&self.options);
        if let Err(error) = self.replace(&mut watch) {
            self.tell(&error);
        }
        watch.state = State::Done;
    }

    /// Puts what the files hold in the place of what is in use.
    fn replace(&self, watch: &mut Watch) -> io::Result<()> {
        let files = Files::read(&self.options)?;
        let about = files.about()?;
        let authorities = files.authorities.clone();
        let ticketer = if authorities == watch.authorities {
            Arc::clone(&watch.ticketer)
        } else {
            Ticketer::new().map_err(io::Error::other)?
        };
        let config = files.config(&self.options, Arc::clone(&ticketer))?;
        self.config.store(Arc::new(config));
        (watch.ticketer, watch.authorities) = (ticketer, authorities);
        self.metrics.certificate().set_expiry(about.expires);
        self.welcome(&about);
        self.metrics.certificate().count(ReloadOutcome::Replaced);
        Ok(())
    }

    fn welcome(&self, about: &About) {
        let certificate = self.options.certificate.display();
        if about.expires < now() {
            tracing::warn!(%certificate, "new certificate in use though it has expired: {about}");
        } else {
            tracing::info!(%certificate, "new certificate in use: {about}");
        }
    }

    fn tell(&self, error: &io::Error) {
        tracing::error!(%error, "the new certificate cannot be used, the old one stays in use");
        self.metrics.certificate().count(ReloadOutcome::Refused);
    }
}

fn stamps(options: &Tls) -> Vec<Option<Stamp>> {
    let own: [&Path; 2] = [&options.certificate, &options.key];
    let authorities = options.client_cas.iter().map(AsRef::as_ref);
    own.into_iter().chain(authorities).map(Stamp::of).collect()
}

/// Returns the seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{ClientAuth, TlsVersion};

    fn pair() -> (String, String) {
        let names = vec!["cache.example".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    struct Rig {
        dir: tempfile::TempDir,
        metrics: Metrics,
        certificates: Certificates,
    }

    impl Rig {
        fn new() -> Self {
            let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new(1));
            let (certificate, key) = pair();
            let at = |name: &str| dir.path().join(name);
            std::fs::write(at("cert.pem"), certificate).unwrap();
            std::fs::write(at("key.pem"), key).unwrap();
            let options = Tls {
                certificate: at("cert.pem"),
                key: at("key.pem"),
                client_cas: Vec::new(),
                client_auth: ClientAuth::RequireAndVerify,
                minimum: TlsVersion::Tls12,
                cipher_suites: Vec::new(),
            };
            Self {
                certificates: Certificates::read(options, metrics.clone()).unwrap(),
                dir,
                metrics,
            }
        }

        fn put(&self, name: &str, text: &str) {
            let new = self.dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.dir.path().join(name)).unwrap();
        }

        /// Looks once; returns how often certificates were replaced and refused so far.
        fn look(&self) -> (u64, u64) {
            self.certificates.look();
            self.counts()
        }

        fn counts(&self) -> (u64, u64) {
            let samples = self.metrics.samples();
            let mut reloads = samples
                .iter()
                .filter(|sample| sample.name == "transship_tls_reloads_total")
                .map(|sample| sample.value);
            (reloads.next().unwrap(), reloads.next().unwrap())
        }
    }

    #[test]
    fn a_key_that_follows_its_certificate_is_no_error() {
        let rig = Rig::new();
        let before = rig.certificates.current();
        assert_eq!(rig.look(), (0, 0));
        let (certificate, key) = pair();
        rig.put("cert.pem", &certificate);
        assert_eq!(rig.look(), (0, 0));
        assert!(Arc::ptr_eq(&before, &rig.certificates.current()));
        rig.put("key.pem", &key);
        assert_eq!(rig.look(), (1, 0));
        assert!(!Arc::ptr_eq(&before, &rig.certificates.current()));
        assert_eq!(rig.look(), (1, 0));
    }

    #[test]
    fn what_stays_wrong_is_told_once_for_each_change() {
        let rig = Rig::new();
        let (certificate, key) = pair();
        rig.put("key.pem", &key);
        let told: Vec<_> = (0..6).map(|_| rig.look().1).collect();
        assert_eq!(told, [0, 0, 1, 1, 1, 1]);
        // Another change starts over, and asking outright does not wait.
        std::fs::remove_file(rig.dir.path().join("cert.pem")).unwrap();
        assert_eq!(rig.look(), (0, 1));
        rig.certificates.reread();
        assert_eq!(rig.counts(), (0, 2));
        assert_eq!(rig.look(), (0, 2));
        rig.put("cert.pem", &certificate);
        assert_eq!(rig.look(), (1, 2));
    }

    #[test]
    fn a_certificate_is_told_by_its_names_serial_and_end() {
        let rig = Rig::new();
        let files = Files::read(&rig.certificates.options).unwrap();
        let told = files.about().unwrap().to_string();
        assert!(told.starts_with("for cache.example ::1, serial "), "{told}");
        assert!(told.contains(", expires Jan  1 "), "{told}");
    }
}
