//! Compares passwords: bounded, on threads of their own, and once for the many requests of a pull.
//!
//! Invariants
//! - Of a password only a salted hash is kept, and only of one that was right by the file as it is now.
//! - One client fills neither the queue nor the threads: at most [`WAITING_OF_ONE_MAX`] of its passwords wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::LoginError;
use super::failures::Failures;
use super::files::{CACHE_USER, Content};
use crate::auth::Secret;
use crate::gateway::Failure;
use crate::limits::{LOGINS_MAX, LOGINS_WAITING_MAX};

/// Most passwords of one client that wait.
const WAITING_OF_ONE_MAX: usize = 32;

/// A salted hash.
type Mark = [u8; 32];
type Client = Option<IpAddr>;

/// What is known of passwords.
pub(super) struct Logins {
    salt: Key,
    /// Marks of what was right, and the generation of the file that it was right by.
    known: Mutex<HashMap<Mark, u64>>,
    failures: Mutex<Failures<(Client, Mark)>>,
    queue: Arc<Mutex<Queue>>,
    turns: Arc<Semaphore>,
}

impl Logins {
    /// Returns a room that knows nobody.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub(super) fn new() -> Result<Self, Failure> {
        let mut salt = [0; 32];
        aws_lc_rs::rand::fill(&mut salt).map_err(|error| Failure::new("random bytes", error))?;
        // Pulls go on beside: half of the cores is enough for passwords.
        let threads = available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        Ok(Self {
            salt: Key::new(HMAC_SHA256, &salt),
            known: Mutex::default(),
            failures: Mutex::default(),
            queue: Arc::default(),
            turns: Arc::new(Semaphore::new(threads)),
        })
    }

    /// Checks a password that `client` shows.
    pub(super) async fn check(
        &self,
        content: &Content,
        user: &str,
        password: &Secret,
        client: Client,
    ) -> Result<(), LoginError> {
        if user == CACHE_USER {
            return Err(LoginError::Wrong);
        }
        let mark = self.mark(user, password.expose());
        if self.is_known(&mark, content.generation) {
            return Ok(());
        }
        let guesser = (client, self.mark(user, ""));
        let place = Queue::enter(&self.queue, client).ok_or(LoginError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| LoginError::Busy)?;
        // Those who came together pay once.
        if self.is_known(&mark, content.generation) {
            return Ok(());
        }
        if !self.failures.lock().may(&guesser, Instant::now()) {
            return Err(LoginError::Busy);
        }
        let passwords = Arc::clone(&content.passwords);
        let (name, shown) = (user.to_owned(), password.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = passwords.verify(&name, shown.expose());
            // Only now, as a client that goes away does not end what it began.
            drop((turn, place));
            is_right
        });
        if compared.await.unwrap_or(false) {
            self.note(mark, content.generation);
            return Ok(());
        }
        self.failures.lock().note(guesser, Instant::now());
        Err(LoginError::Wrong)
    }

    fn mark(&self, user: &str, password: &str) -> Mark {
        let length = user.len().to_le_bytes();
        let text = [&length, user.as_bytes(), password.as_bytes()].concat();
        let mut mark = [0; 32];
        mark.copy_from_slice(sign(&self.salt, &text).as_ref());
        mark
    }

    fn is_known(&self, mark: &Mark, generation: u64) -> bool {
        self.known.lock().get(mark) == Some(&generation)
    }

    fn note(&self, mark: Mark, generation: u64) {
        let mut known = self.known.lock();
        if known.len() >= LOGINS_MAX {
            known.clear();
        }
        known.retain(|_, of| *of >= generation);
        known.insert(mark, generation);
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

/// How many wait, in all and of each client.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: usize,
    of: HashMap<Client, usize>,
}

/// A place in the queue, left when it is dropped.
#[derive(Debug)]
struct Place {
    queue: Arc<Mutex<Queue>>,
    client: Client,
}

impl Queue {
    fn enter(queue: &Arc<Mutex<Self>>, client: Client) -> Option<Place> {
        let mut inner = queue.lock();
        let own = inner.of.get(&client).copied().unwrap_or(0);
        if inner.waiting >= LOGINS_WAITING_MAX || own >= WAITING_OF_ONE_MAX {
            return None;
        }
        inner.waiting += 1;
        inner.of.insert(client, own + 1);
        Some(Place {
            queue: Arc::clone(queue),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.waiting -= 1;
        if let Some(own) = queue.of.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                queue.of.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::gateway::accounts::files::Files;
    use crate::gateway::options::Accounts;

    const HERE: Client = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    struct Stage {
        dir: TempDir,
        files: Arc<Files>,
        logins: Logins,
    }

    impl Stage {
        fn set() -> Self {
            let dir = TempDir::new().unwrap();
            fs::write(dir.path().join("htpasswd"), lines("right")).unwrap();
            let files = Files::open(&Accounts::default(), dir.path()).unwrap();
            Self {
                dir,
                files,
                logins: Logins::new().unwrap(),
            }
        }

        async fn check(
            &self,
            user: &str,
            password: &str,
            client: Client,
        ) -> Result<(), LoginError> {
            let (content, password) = (self.files.current(), Secret::new(password));
            self.logins.check(&content, user, &password, client).await
        }
    }

    fn lines(password: &str) -> String {
        let hash = bcrypt::hash(password, 4).unwrap();
        format!("alice:{hash}\nbob:{hash}\ncache:{hash}\n")
    }

    #[tokio::test]
    async fn what_was_right_costs_nothing_until_the_file_changes() {
        let stage = Stage::set();
        assert_eq!(stage.check("alice", "right", HERE).await, Ok(()));
        for (user, password) in [
            ("alice", "wrong"),
            ("carol", "right"),
            ("cache", "right"),
            ("", ""),
        ] {
            let refused = stage.check(user, password, HERE).await;
            assert_eq!(refused, Err(LoginError::Wrong), "{user}");
        }
        // From here on nothing can be compared.
        stage.logins.turns.close();
        assert_eq!(stage.check("alice", "right", HERE).await, Ok(()));
        assert_eq!(
            stage.check("bob", "right", HERE).await,
            Err(LoginError::Busy)
        );
        fs::write(stage.dir.path().join("htpasswd"), lines("new")).unwrap();
        stage.files.look();
        assert_eq!(
            stage.check("alice", "right", HERE).await,
            Err(LoginError::Busy)
        );
    }

    #[tokio::test]
    async fn who_guesses_has_to_wait_and_nobody_else_does() {
        let (stage, there) = (Stage::set(), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(stage.check("bob", "right", HERE).await, Ok(()));
        for guess in 0..10 {
            let refused = stage.check("alice", &guess.to_string(), HERE).await;
            assert_eq!(refused, Err(LoginError::Wrong));
        }
        assert_eq!(
            stage.check("alice", "right", HERE).await,
            Err(LoginError::Busy)
        );
        assert_eq!(stage.check("alice", "right", there).await, Ok(()));
        // What is known to be right is no guess.
        assert_eq!(stage.check("alice", "right", HERE).await, Ok(()));
        assert_eq!(
            stage.check("bob", "other", HERE).await,
            Err(LoginError::Wrong)
        );
    }

    #[tokio::test]
    async fn one_client_does_not_fill_the_queue_and_all_together_do() {
        let stage = Stage::set();
        let enter = |client| Queue::enter(&stage.logins.queue, client);
        let mut places: Vec<_> = (0..WAITING_OF_ONE_MAX)
            .filter_map(|_| enter(HERE))
            .collect();
        assert_eq!(places.len(), WAITING_OF_ONE_MAX);
        assert_eq!(
            stage.check("alice", "right", HERE).await,
            Err(LoginError::Busy)
        );
        let there = Some(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(stage.check("alice", "right", there).await, Ok(()));
        places.extend((0..WAITING_OF_ONE_MAX).filter_map(|_| enter(there)));
        assert_eq!(places.len(), LOGINS_WAITING_MAX);
        assert_eq!(
            stage.check("bob", "right", None).await,
            Err(LoginError::Busy)
        );
        drop(places);
        assert_eq!(stage.check("bob", "right", HERE).await, Ok(()));
        assert!(stage.logins.queue.lock().of.is_empty());
    }
}
