//! Every bound that is not an operator's to set, in one place, each with its reason.
//!
//! What an operator may set has its default in the `Options` of the module that obeys it.

use std::time::Duration;

/// Longest request head, in bytes. Token requests carry JWTs of 4–8 KiB; more is an attack.
pub const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest request target, in bytes: a token of 8 KiB in the query, twice over.
pub const REQUEST_TARGET_BYTES_MAX: usize = 16 * 1024;
/// Most header fields of a request or a next hop's response.
pub const HEADERS_MAX: usize = 100;
/// Longest `ns` parameter that is echoed, in bytes: a DNS name (RFC 1035 §2.3.4), a colon and a port.
pub const NAMESPACE_BYTES_MAX: usize = 253 + 1 + 5;
/// Longest request body that is read and thrown away to keep a connection, in bytes.
pub const DRAIN_BODY_BYTES_MAX: u64 = 64 * 1024;
/// Most ranges of one request. zstd:chunked pulls ask for many at once; RFC 9110 §14.2 allows a bound.
pub const RANGES_MAX: usize = 128;
/// Chunk extensions of one body that are skipped before it counts as an attack, in bytes.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Longest trailer section of a chunked body, in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Most challenges read from a next hop's `WWW-Authenticate`, and most parameters of each.
pub const CHALLENGES_MAX: usize = 16;
/// Longest response head of a next hop, in bytes.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Largest manifest: what the OCI distribution specification asks registries to accept.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest tag list, referrers list, catalogue page or token reply taken from a next hop, in bytes.
pub const LISTING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most redirects followed for one request: what Go's clients follow.
pub const REDIRECTS_MAX: usize = 10;
/// Bytes of a fill's tail withheld until the digest is equal.
pub const WITHHELD_BYTES: u64 = 64 * 1024;
/// Bytes given to one `sendfile`, so that no blob holds a core for long.
pub const SEND_SLICE_BYTES: usize = 1024 * 1024;
/// Plain bytes encrypted before they are sent, four full records: what is encrypted is still near the
/// processor when the kernel copies it.
pub const TLS_BATCH_BYTES: usize = 64 * 1024;
/// Bytes read by a helper thread at once where a TLS client wants what is not in memory.
pub const TLS_COLD_BYTES: usize = 256 * 1024;
/// Bytes encrypted for one connection before the others of its core get their turn: as long as
/// [`SEND_TURN_BYTES`] without encryption.
pub const TLS_TURN_BYTES: usize = 512 * 1024;
/// Bytes that a connection's output buffer keeps between two responses.
pub const OUTPUT_KEPT_BYTES: usize = 64 * 1024;
/// Bytes that one connection may send before the others of its core get their turn.
pub const SEND_TURN_BYTES: usize = 2 * 1024 * 1024;
/// Requests that one connection may have answered before the others of its core get their turn.
pub const REQUESTS_PER_TURN: u64 = 64;
/// Size of one chunk on its way from the next hop to disk, in bytes.
pub const FILL_CHUNK_BYTES: usize = 256 * 1024;
/// Chunks of one fill on their way to disk at once: bounds memory, and slows the next hop's
/// connection to the speed of disk and hash.
pub const FILL_CHUNKS_MAX: usize = 4;
/// Bytes of a fill that the disk has failed which are kept in memory ahead of its slowest follower. More
/// than [`WITHHELD_BYTES`], or the follower would wait for bytes that wait for it.
pub const SPILL_WINDOW_BYTES: u64 = 1024 * 1024;
/// Size of one of the files in memory that make up such a window; each is freed as a whole. A window with
/// what is on its way to it takes six at most.
pub const SPILL_SEGMENT_BYTES: u64 = 512 * 1024;
/// Most such windows at once: 640 MiB and 1,500 descriptors if every one of them is full.
pub const SPILLS_MAX: usize = 256;
/// First pause before a fill goes on whose next hop broke off.
pub const RESUME_WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest such pause.
pub const RESUME_WAIT_MAX: Duration = Duration::from_secs(5);
/// Failures in a row that a fill stands which has received next to nothing: three seconds of them. One that
/// has received more stands twice as many, half a minute.
pub const RESUMES_MAX: u32 = 5;
/// Longest wait of a fill that clients are being sent for the answer to what it asks next: a next hop that
/// says when to come again is believed up to this.
pub const FILL_PATIENCE: Duration = Duration::from_secs(300);
/// Bytes to come below which a fill stays with the streams it has.
pub const STREAMS_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Time over which a fill's speed is measured before it tries more streams: long enough for a new one to get
/// up to speed.
pub const STREAM_WINDOW: Duration = Duration::from_millis(500);
/// A fill that ends sooner than this anyway does not try more streams.
pub const STREAMS_WORTH: Duration = Duration::from_secs(3);
/// Most bytes asked for at once for a client that waits for a part of an absent blob: it may leave.
pub const AHEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Least bytes asked for at once for such a client: lazy pullers come back for the next ones.
pub const AHEAD_BYTES_MIN: u64 = 256 * 1024;
/// Bytes after which an unfinished file is given a name again that outlives the process: at most these are
/// fetched once more after it was killed.
pub const KEPT_MARK_BYTES: u64 = 64 * 1024 * 1024;
/// How long a fill stays that only parts were asked of, after the last of its clients.
pub const PARTS_IDLE: Duration = Duration::from_secs(30);
/// Largest blob that is believed in, in bytes: sums of offsets in it never overflow.
pub const BLOB_BYTES_MAX: u64 = 1 << 62;
/// Most fills at once: each may hold a descriptor or two and [`FILL_CHUNKS_MAX`] chunks.
pub const FILLS_MAX: usize = 1024;
/// How often a follower that another repository's refusal hit tries under its own name.
pub const REJOINS_MAX: usize = 4;
/// How often deadlines are looked at; a deadline is kept to within this much.
pub const DEADLINE_TICK: Duration = Duration::from_millis(100);
/// Largest blob that a core keeps in memory, head and all, so that a hit is one send. Above it the
/// copy costs more than a `sendfile` of its own.
pub const MEMORY_BLOB_BYTES_MAX: u64 = 8 * 1024;
/// Longest time that a closing connection is read from, so that a client gets to read why.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long a core keeps a deleted blob open at most that nobody is being sent: shorter than a fill waits for
/// the room ([`ROOM_PATIENCE`]).
pub const CLOSE_DELETED_EVERY: Duration = Duration::from_millis(100);
/// Longest body of a request to the admin address, in bytes: a list of [`WARM_IMAGES_MAX`] references.
pub const ADMIN_BODY_BYTES_MAX: usize = 512 * 1024;
/// Most connections to the admin address and its Unix socket at once: each may bring a body of
/// [`ADMIN_BODY_BYTES_MAX`].
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Fills that have ended which are remembered for operators: some 100 KiB.
pub const FILLS_REMEMBERED: usize = 256;
/// Blobs hashed at once because a power cut may have damaged them; others wait their turn.
pub const PROVING_THREADS: usize = 2;
/// How often a draining core looks whether its last response has ended.
pub const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How long a process that is taken over from may take to answer its successor: one that stands still may not hold up
/// its clients.
pub const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection has been silent before it is closed by a process whose successor has taken over: longer than
/// a request is on its way.
pub const HANDED_OVER_IDLE: Duration = Duration::from_secs(5);
/// Longest time for a TLS handshake with a client.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often certificates are looked at for changes: a few calls of stat(2) each.
pub const CERTIFICATES_LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks for which certificates that are of no use must stay unchanged before that is told: a key that
/// follows its certificate within seconds is no error.
pub const CERTIFICATES_SETTLE_LOOKS: u32 = 2;
/// Largest configuration file and largest value of a `REGISTRY_…` variable, in bytes: a hundred times
/// what the longest known registry configuration takes.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Longest token (JWT) that is looked at, in bytes: what fits a request head twice over, see
/// [`REQUEST_TARGET_BYTES_MAX`].
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Most keys that one token's signature is tried with: one costs 20 to 400 µs, and anybody may send it.
pub const TOKEN_KEYS_TRIED_MAX: usize = 8;
/// Most certificates read from one token's header: a leaf and what stands between it and a root.
pub const TOKEN_CERTIFICATES_MAX: usize = 4;
/// Largest key set or certificate bundle, in bytes: 64 RSA keys with their chains take less.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Most keys of one set. Large identity providers publish about twenty.
pub const KEY_SET_KEYS_MAX: usize = 64;
/// Shortest token of the admin API, in bytes: a shorter one can be tried out.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// Shortest secret of HS256, in bytes: as long as the hash (RFC 7518 §3.2). A shorter one can be guessed
/// from a single token.
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;
/// Costliest bcrypt hash that is worked through for a login: cost 15 takes one to three seconds.
pub const BCRYPT_COST_MAX: u32 = 15;
/// Most questions about rights on their way to the origin at once: each may hold a descriptor.
pub const CHECKS_MAX: usize = 1024;
/// Most bytes of credentials that one core's grants hold.
pub const GRANTS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most permissions of the origin that are remembered: users times repositories of an hour.
pub const PERMISSIONS_MAX: usize = 64 * 1024;
/// Most grants that one core remembers: what a client that comes again needs no lock for.
pub const GRANTS_PER_CORE_MAX: usize = 8 * 1024;
/// Longest wait for the origin's word on a permission that counts without it for the time being.
pub const GRACE_PATIENCE: Duration = Duration::from_secs(2);
/// How long an origin that gave no answer is not asked again about such permissions.
pub const AWAY_TIME: Duration = Duration::from_secs(5);
/// Shortest time between two fetches of a key set because a token names an unknown key.
pub const KEYS_REFRESH_MIN: Duration = Duration::from_secs(1);
/// How often key sets are fetched anew, and files of keys and passwords looked at.
pub const KEYS_REFRESH_EVERY: Duration = Duration::from_secs(300);
/// Most lines a second and core about requests that were refused: clients must not fill the log.
pub const REFUSALS_LOGGED_A_SECOND: u32 = 10;
/// Most logins at the cache's own door that are remembered.
pub const LOGINS_MAX: usize = 64 * 1024;
/// Most passwords that wait to be compared: at 50 ms each the last one waits three seconds.
pub const LOGINS_WAITING_MAX: usize = 64;
/// First wait before a hop that went down is asked again: an outage of a moment costs no more.
pub const HOP_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait before a hop that is down is asked again. It bounds how long requests fail at once after
/// the only hop has come back.
pub const HOP_WAIT_MAX: Duration = Duration::from_secs(10);
/// Failures in a row that make a hop count as down which still takes connections.
pub const HOP_FAILURES_MAX: u32 = 3;
/// A hop that fails faster is asked as the last resort even while it is down: it keeps nobody waiting.
pub const QUICK_FAILURE: Duration = Duration::from_secs(1);
/// Longest wait for another request's probe of the only hop left: one that works has answered by then.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// Least time that a hop is given to answer: with less left it is not asked, nor blamed.
pub const ASK_TIME_MIN: Duration = Duration::from_millis(100);
/// First wait after a hop's 429 that does not say how long.
pub const THROTTLE_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait after such a 429; each one in a row doubles it.
pub const THROTTLE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest time that a hop may ask to be left alone (`Retry-After`). Docker Hub's windows are of hours, but
/// asking once in five minutes is no load, and quotas are raised meanwhile.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest time by which waits are spread, so that those who wait for the same do not come at once.
pub const THROTTLE_SPREAD_MAX: Duration = Duration::from_secs(1);
/// Requests at once to a hop that answers again from which on it is asked as ever: it begins with two, and
/// each answer allows one more.
pub const THROTTLE_EASE_MAX: usize = 32;
/// What somebody is told to wait who found no room below a bound in time.
pub const NO_ROOM_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Longest that payments may run ahead of the bound on bytes a second: timers have a resolution of a
/// millisecond, and a chunk on a fast link takes less.
pub const BANDWIDTH_SLACK: Duration = Duration::from_millis(20);
/// Most caches and proxies that a request may have passed. More is a cycle through something that hides it.
pub const HOPS_MAX: usize = 8;
/// Longest `Via` that is passed on, in bytes: [`HOPS_MAX`] long host names with comments.
pub const VIA_BYTES_MAX: usize = 2048;
/// Longest `tracestate` that is passed on, in bytes: as much as W3C asks for.
pub const TRACE_STATE_BYTES_MAX: usize = 512;
/// Longest `Cache-Status` of a next hop that is passed on, in bytes.
pub const CACHE_STATUS_BYTES_MAX: usize = 1024;
/// Longest wait of a request from another cache for a fill that someone else leads and that has no answer
/// yet, before it is looked whether the two wait for each other.
pub const CHAIN_PATIENCE: Duration = Duration::from_secs(2);
/// Shortest time between two log lines about requests that go round in a cycle.
pub const LOOP_LOG_EVERY: Duration = Duration::from_secs(60);
/// First wait before a disk that failed is tried again: space often comes back with the next eviction.
pub const DISK_WAIT_MIN: Duration = Duration::from_millis(500);
/// Longest wait before a disk that failed is tried again: a trial writes a megabyte.
pub const DISK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes that a trial of the disk writes: enough not to fit into what a full file system has left over.
pub const DISK_TRIAL_BYTES: usize = 1024 * 1024;
/// Longest wait of a fill for room that deleted files still take because cores have them open.
pub const ROOM_PATIENCE: Duration = Duration::from_millis(500);
/// How old what is known of the file system's free space may be.
pub const FREE_SPACE_AGE_MAX: Duration = Duration::from_millis(100);
/// Bytes that a fill of unknown size asks room for at a time.
pub const ROOM_STEP_BYTES: u64 = 4 * 1024 * 1024;
/// Shortest prefix of an unfinished blob that is kept, in bytes: less is fetched again in the time that two
/// requests take over a long pipe.
pub const KEPT_PREFIX_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// How long an unfinished blob is kept: who broke off a pull tries again within the day, or not at all.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Most unfinished blobs that are kept: a stopped node's images under way, several times over. The oldest go.
pub const KEPT_MAX: usize = 256;
/// Most files of unfinished fills that are looked at in one go: some tens of milliseconds.
pub const PARTIALS_LOOKED_AT_MAX: usize = 8 * 1024;
/// Entries that the eviction policy looks at under one lock: some microseconds.
pub const EVICTION_STEPS: usize = 256;
/// Changes of the index that are written to disk at once.
pub const JOURNAL_BATCH: usize = 16 * 1024;
/// Shortest pause between two scans of a directory that others write to as well.
pub const RESCAN_EVERY_MIN: Duration = Duration::from_secs(60);
/// Times the duration of such a scan that follow it as a pause.
pub const RESCAN_SHARE: u32 = 20;
/// Largest list of pins, in bytes: some ten thousand references.
pub const PINS_BYTES_MAX: u64 = 1024 * 1024;
/// Most digests that are pinned at once, with all that pinned images name.
pub const PINNED_DIGESTS_MAX: usize = 1_000_000;
/// Tags whose meaning is remembered in case they are pinned later: some megabytes.
pub const PULLED_TAGS_MAX: usize = 64 * 1024;
/// Most tags whose meaning is remembered, each as often as clients accept different types: 20 MB.
pub const TAGS_MAX: usize = 64 * 1024;
/// Most lists of accepted types under which one tag is remembered: a client chooses them.
pub const TAG_ACCEPTS_MAX: usize = 8;
/// Largest file of tags, in bytes: [`TAGS_MAX`] of the longest lines.
pub const TAGS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much older the file of tags may say that the origin's last word is: a restart costs so much of
/// `transship.stale.manifests`.
pub const TAG_WRITTEN_AGE_MAX: Duration = Duration::from_secs(60);
/// How fast the file of tags is written in the long run: all of it every five seconds while it is small, once
/// in a minute when it is full.
pub const TAGS_WRITTEN_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Shortest time between two pairs of log lines about tags that are served without the origin's word.
pub const STALE_LOG_EVERY: Duration = Duration::from_secs(60);
/// How long the origin's word is believed that a blob or manifest is not there: a herd for it costs one
/// question, and whoever pushes it waits no longer than a client takes to try again.
pub const ABSENT_TIME: Duration = Duration::from_secs(3);
/// Most such answers that are remembered at once: each holds a client's credentials.
pub const ABSENT_MAX: usize = 1024;
/// Longest path, and longest query, in a line of the access log, in bytes: a repository's longest name and
/// the longest digest.
pub const LOG_TARGET_BYTES_MAX: usize = 512;
/// Longest user agent in a line of the access log, in bytes.
pub const LOG_AGENT_BYTES_MAX: usize = 256;
/// Longest name of a next hop in a line of the access log, in bytes.
pub const LOG_UPSTREAM_BYTES_MAX: usize = NAMESPACE_BYTES_MAX;
/// Lines of the access log that a core hands over at once.
pub const LOG_BATCH_LINES: usize = 128;
/// Bytes of text after which it hands them over before.
pub const LOG_BATCH_BYTES: usize = 32 * 1024;
/// Most such batches of one core on their way: 16,384 lines, which is a sixth of a second at a hundred
/// thousand requests a second, and 6 MiB at most.
pub const LOG_BATCHES_MAX: usize = 128;
/// How often the writer of the access log looks for lines.
pub const LOG_LOOK_EVERY: Duration = Duration::from_millis(20);
/// The same while there is much to write: what a core writes into comes back to it while its cache still has it.
pub const LOG_LOOK_SOON: Duration = Duration::from_millis(8);
/// Bytes of the access log that are written at once.
pub const LOG_PIECE_BYTES: usize = 64 * 1024;
/// How long the end waits for an access log that nobody takes.
pub const LOG_END_WAIT: Duration = Duration::from_secs(2);
/// Most jobs that warm the store at once; the others wait their turn.
pub const WARM_JOBS_RUNNING_MAX: usize = 4;
/// Most jobs that wait for that.
pub const WARM_JOBS_QUEUED_MAX: usize = 64;
/// Jobs that have ended and can still be asked about.
pub const WARM_JOBS_REMEMBERED: usize = 50;
/// Most images of one job that warms the store.
pub const WARM_IMAGES_MAX: usize = 1000;
/// Most platforms that a job asks for.
pub const WARM_PLATFORMS_MAX: usize = 32;
/// Blobs that one job fetches at once: enough to fill a line, and clients come first anyway.
pub const WARM_BLOBS_AT_ONCE: usize = 3;
/// How many indexes may lie one within the other, the outermost included.
pub const WARM_DEPTH_MAX: usize = 4;
/// Most manifests of one image, over all platforms, and most that one index names.
pub const WARM_MANIFESTS_MAX: usize = 1024;
/// Most blobs of one manifest; container runtimes stop at 127 layers.
pub const WARM_BLOBS_MAX: usize = 4096;
/// Shortest wait before an image that could not be had is tried again.
pub const WARM_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest such wait.
pub const WARM_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long an image is tried while nothing of it comes, unless the job says otherwise.
pub const WARM_PATIENCE: Duration = Duration::from_secs(300);
/// Longest such time that a job may ask for.
pub const WARM_PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);
