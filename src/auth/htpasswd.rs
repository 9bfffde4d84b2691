//! Password files of bcrypt hashes (`auth.htpasswd`), as distribution reads them.
//!
//! A line is `user:$2y$…`; blank lines and lines that begin with `#` are passed over; the last line of a
//! user counts. Refuses, where the file is read and not at the first login, every hash that is not bcrypt
//! or costs more than [`BCRYPT_COST_MAX`]. An error names the line and never what is in it.
//!
//! Source: distribution, registry/auth/htpasswd; `htpasswd -B`.

use std::collections::HashMap;
use std::fmt;

use bcrypt::HashParts;

use crate::limits::BCRYPT_COST_MAX;

/// Lowest cost that bcrypt knows.
const COST_MIN: u32 = 4;
/// Cost of a login by nobody in a file of nobody: what Go's bcrypt uses unless told otherwise.
const COST_DEFAULT: u32 = 10;

/// Why a file is no password file. The operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtpasswdError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No colon, or no name before it.
    NotAnEntry,
    /// A hash of another kind than bcrypt, or a malformed one.
    NotBcrypt,
    /// A hash of a cost below 4 or above [`BCRYPT_COST_MAX`].
    Cost,
}

impl fmt::Display for HtpasswdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.fault {
            Fault::NotAnEntry => f.write_str("not user:hash"),
            Fault::NotBcrypt => f.write_str("not a bcrypt hash, as `htpasswd -B` makes them"),
            Fault::Cost => write!(f, "bcrypt cost not within {COST_MIN} to {BCRYPT_COST_MAX}"),
        }
    }
}

impl std::error::Error for HtpasswdError {}

/// Users and the hashes of their passwords. `Debug` shows how many.
#[derive(Clone)]
pub struct Htpasswd {
    hashes: HashMap<String, String>,
    /// A hash of no password, as costly as the costliest of the file.
    nobody: String,
}

impl Htpasswd {
    /// Reads a password file. O(length).
    ///
    /// # Errors
    ///
    /// [`HtpasswdError`] for the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, HtpasswdError> {
        let mut hashes = HashMap::new();
        let mut costliest = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |fault| HtpasswdError {
                line: index + 1,
                fault,
            };
            let (user, hash) = line.split_once(':').ok_or(error(Fault::NotAnEntry))?;
            if user.is_empty() {
                return Err(error(Fault::NotAnEntry));
            }
            costliest = costliest.max(Some(cost(hash).map_err(error)?));
            hashes.insert(user.to_owned(), hash.to_owned());
        }
        let cost = costliest.unwrap_or(COST_DEFAULT);
        Ok(Self {
            hashes,
            nobody: format!("$2b${cost:02}${}", ".".repeat(53)),
        })
    }

    /// Says whether `password` is `user`'s. An unknown user costs as much as the costliest known one, so
    /// that time does not tell which users there are.
    ///
    /// Like distribution, and every bcrypt, it looks at the first 72 bytes of a password.
    ///
    /// Costs 2^cost rounds on the calling thread: 50 to 100 ms at cost 10, twice that for each step. Never
    /// call it on a core.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let hash = self.hashes.get(user);
        let equal = bcrypt::verify(password, hash.unwrap_or(&self.nobody)).unwrap_or(false);
        equal && hash.is_some()
    }

    /// Returns a user's hash, to see whether the password is still the same. Never show it to anybody.
    #[must_use]
    pub fn hash(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(String::as_str)
    }

    /// Returns the users' names, in no order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }

    /// Returns how many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Says whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({} users)", self.len())
    }
}

/// Returns the cost of a bcrypt hash of a version without known faults.
fn cost(hash: &str) -> Result<u32, Fault> {
    if !["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|version| hash.starts_with(version))
    {
        return Err(Fault::NotBcrypt);
    }
    let parts: HashParts = hash.parse().map_err(|_| Fault::NotBcrypt)?;
    let cost = parts.get_cost();
    if !(COST_MIN..=BCRYPT_COST_MAX).contains(&cost) {
        return Err(Fault::Cost);
    }
    Ok(cost)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The published test vector of `htpasswd -B` kind: cost 5, by OpenBSD's bcrypt.
    const U_STAR_U: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    /// The body of a fuzz target: no file panics, and of one that is refused the line is named.
    pub(crate) fn check_htpasswd(bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match Htpasswd::parse(&text) {
            Ok(file) => assert!(file.len() <= text.lines().count()),
            Err(error) => assert!((1..=text.lines().count()).contains(&error.line)),
        }
    }

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn a_password_opens_its_users_door_and_no_other() {
        let long = "x".repeat(80);
        let text = format!(
            "# users\n\n  \t\r\nana:{}\r\n  bob:{} \nold:{U_STAR_U}\nana:{}\nlong:{}\n",
            hash("first"),
            hash("b:o b"),
            hash("second"),
            hash(&long),
        );
        let file = Htpasswd::parse(&text).unwrap();
        assert_eq!(file.len(), 4);
        for (user, password, expected) in [
            ("ana", "second", true),
            ("ana", "first", false),
            ("bob", "b:o b", true),
            ("bob", "second", false),
            ("old", "U*U", true),
            ("old", "U*u", false),
            ("Ana", "second", false),
            ("# users", "", false),
            ("", "", false),
            ("nobody", "", false),
            ("long", &long, true),
            ("long", &long[..72], true),
            ("long", &long[..71], false),
        ] {
            assert_eq!(file.verify(user, password), expected, "{user} {password}");
        }
    }

    #[test]
    fn every_version_of_bcrypt_that_tools_write_is_taken() {
        for version in ["2a", "2b", "2y"] {
            let text = format!("ana:{}", hash("pw").replacen("2b", version, 1));
            assert!(
                Htpasswd::parse(&text).unwrap().verify("ana", "pw"),
                "{version}"
            );
        }
    }

    #[test]
    fn a_line_that_could_never_let_anybody_in_is_refused_by_its_number() {
        let good = format!("ana:{}\n# comment\n", hash("pw"));
        let short = &hash("pw")[..59];
        let costly = U_STAR_U.replace("$05$", "$16$");
        let cheap = U_STAR_U.replace("$05$", "$03$");
        let signed = U_STAR_U.replace("$05$", "$+5$");
        let flawed = U_STAR_U.replace("$2a$", "$2x$");
        for (line, fault) in [
            ("bob", Fault::NotAnEntry),
            (":", Fault::NotAnEntry),
            (&format!(":{U_STAR_U}"), Fault::NotAnEntry),
            ("bob:", Fault::NotBcrypt),
            ("bob:secret", Fault::NotBcrypt),
            (
                "bob:$apr1$abcdefgh$0123456789012345678901",
                Fault::NotBcrypt,
            ),
            ("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Fault::NotBcrypt),
            ("bob:$6$salt$hash", Fault::NotBcrypt),
            (&format!("bob:{short}"), Fault::NotBcrypt),
            (&format!("bob:{U_STAR_U}:more"), Fault::NotBcrypt),
            (&format!("bob:{flawed}"), Fault::NotBcrypt),
            (&format!("bob:{costly}"), Fault::Cost),
            (&format!("bob:{cheap}"), Fault::Cost),
        ] {
            let error = Htpasswd::parse(&format!("{good}{line}\n")).unwrap_err();
            assert_eq!(error, HtpasswdError { line: 3, fault }, "{line}");
            assert!(error.to_string().starts_with("line 3: "));
        }
        // Either way no panic later.
        if let Ok(file) = Htpasswd::parse(&format!("bob:{signed}")) {
            assert!(!file.verify("bob", "x"));
        }
    }

    #[test]
    fn an_unknown_user_is_worked_through_at_the_cost_of_the_costliest() {
        let costlier = U_STAR_U.replace("$05$", "$06$");
        let file = Htpasswd::parse(&format!("a:{}\nb:{costlier}\n", hash("x"))).unwrap();
        let nobody: HashParts = file.nobody.parse().unwrap();
        assert_eq!(nobody.get_cost(), 6);
        let empty = Htpasswd::parse("").unwrap();
        assert!(empty.is_empty());
        assert_eq!(
            empty.nobody.parse::<HashParts>().unwrap().get_cost(),
            COST_DEFAULT
        );
    }

    #[test]
    fn hashes_are_not_shown() {
        let file = Htpasswd::parse(&format!("ana:{U_STAR_U}")).unwrap();
        assert_eq!(format!("{file:?}"), "Htpasswd(1 users)");
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            text in "([a#: ]{0,3}:?(\\$2[aby]\\$0[4-9]\\$)?[a./$é]{0,60}\n?){0,3}",
        ) {
            check_htpasswd(&bytes);
            check_htpasswd(text.as_bytes());
        }
    }
}
