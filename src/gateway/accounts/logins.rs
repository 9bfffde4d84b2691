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
