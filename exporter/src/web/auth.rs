//! Basic authentication (RFC 7617) against bcrypt hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// A bcrypt hash that is well-formed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash(String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

impl Hash {
    pub(super) fn parse(text: String) -> Option<Self> {
        bcrypt::HashParts::from_str(&text).is_ok().then_some(Self(text))
    }

    /// Two to the power of it are the rounds that a check takes.
    fn cost(&self) -> u32 {
        bcrypt::HashParts::from_str(&self.0).map_or(MIN_COST, |parts| parts.get_cost())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is answered.
    Welcome,
    /// It has no name and password, or wrong ones.
    Unknown,
    /// Too many passwords wait to be checked.
    Busy,
}

/// A name and a password that nobody has checked yet.
pub(super) struct Claim {
    password: Vec<u8>,
    /// Of the user; `None` when there is no such user.
    hash: Option<Hash>,
    /// Of the name, the hash and the password.
    key: [u8; 32],
}

/// Users, and which of their passwords were right before: a bcrypt check takes a while by design.
#[derive(Debug, Default)]
pub(super) struct Users {
    users: BTreeMap<String, Hash>,
    /// The highest of their hashes: the check of every other name and password takes as long.
    cost: u32,
    known: Mutex<BTreeSet<[u8; 32]>>,
}

/// Passwords that are remembered; one a user is enough.
const MAX_KNOWN: usize = 100;

/// The lowest that bcrypt has.
const MIN_COST: u32 = 4;

/// A hash of no password, for time to pass: it is checked at any cost.
const NOBODY: &str = "7EqJtq98hPqEX7fNZaFWoOhi5B0a0P6cHk1aZ0xVf0k0e3N2V9x2S";

/// A password that bcrypt would cut is none that anybody set.
const MAX_PASSWORD: usize = 72;

impl Users {
    pub(super) fn new(users: BTreeMap<String, Hash>) -> Self {
        let cost = users.values().map(Hash::cost).max().unwrap_or(MIN_COST);
        Self { users, cost, known: Mutex::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Takes over which passwords were right before; those of a hash that is another now are not among them.
    pub(super) fn remember(&self, before: &Self) {
        let known = before.known().clone();
        *self.known() = known;
    }

    /// Decides by the value of the header `Authorization`, or gives what has to be checked for that.
    pub(super) fn recall(&self, authorization: Option<&[u8]>) -> Result<Decision, Claim> {
        if self.users.is_empty() {
            return Ok(Decision::Welcome);
        }
        let Some((user, password)) = authorization.and_then(credentials) else {
            return Ok(Decision::Unknown);
        };
        if password.len() > MAX_PASSWORD {
            return Ok(Decision::Unknown);
        }
        let hash = self.users.get(&user).cloned();
        let mut digest = Sha256::new();
        let stored = hash.as_ref().map_or("", |hash| &hash.0);
        for part in [user.as_bytes(), stored.as_bytes(), &password] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        let claim = Claim { password, hash, key: digest.finalize().into() };
        if self.knows(&claim) { Ok(Decision::Welcome) } else { Err(claim) }
    }

    /// Whether it was checked meanwhile, and is right.
    pub(super) fn knows(&self, claim: &Claim) -> bool {
        claim.hash.is_some() && self.known().contains(&claim.key)
    }

    /// Checks it, which takes a CPU for some 50 ms where the highest cost is 10.
    pub(super) fn check(&self, claim: &Claim) -> Decision {
        let is_hash_of = |hash: &str| bcrypt::verify(&claim.password, hash).unwrap_or(false);
        let is_right = claim.hash.as_ref().is_some_and(|hash| is_hash_of(&hash.0));
        for cost in self.fill(claim) {
            is_hash_of(&nobody(cost));
        }
        if !is_right {
            return Decision::Unknown;
        }
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(claim.key);
        Decision::Welcome
    }

    /// Costs of the checks that are made beside that of the user's own hash, so that all take as long: those from its cost on are as many
    /// rounds together as the highest has more than it.
    fn fill(&self, claim: &Claim) -> std::ops::Range<u32> {
        claim.hash.as_ref().map_or(self.cost..self.cost + 1, |hash| hash.cost()..self.cost)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nobody(cost: u32) -> String {
    format!("$2b${cost:02}${NOBODY}")
}

/// User and password.
fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = header.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let text = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = text.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(text[..colon].to_vec()).ok()?;
    Some((user, text[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = |password: &str| Hash::parse(bcrypt::hash(password, 4).unwrap()).unwrap();
        Users::new(BTreeMap::from([("prom".to_owned(), hash("s3:cret")), ("b".to_owned(), hash("other"))]))
    }

    fn header(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    fn decide(users: &Users, authorization: Option<&[u8]>) -> Decision {
        users.recall(authorization).unwrap_or_else(|claim| users.check(&claim))
    }

    #[test]
    fn without_users_everybody_is_welcome() {
        assert_eq!(decide(&Users::default(), None), Decision::Welcome);
    }

    #[test]
    fn only_the_right_password_of_the_right_user() {
        let users = users();
        for _twice in 0..2 {
            assert_eq!(decide(&users, Some(&header("prom:s3:cret"))), Decision::Welcome);
            for wrong in ["prom:other", "b:s3:cret", "prom:", ":s3:cret", "prom", "", "nobody:x"] {
                assert_eq!(decide(&users, Some(&header(wrong))), Decision::Unknown, "{wrong}");
            }
        }
        for wrong in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"Basic !!!",
            b"Bearer cHJvbTpzMzpjcmV0",
            b"\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(decide(&users, Some(wrong)), Decision::Unknown);
        }
        assert_eq!(decide(&users, None), Decision::Unknown);
        assert_eq!(users.known().len(), 1);
    }

    #[test]
    fn what_was_right_is_known_until_its_hash_is_another() {
        let before = users();
        let right = header("prom:s3:cret");
        assert!(before.recall(Some(&right)).is_err());
        assert_eq!(decide(&before, Some(&right)), Decision::Welcome);
        assert!(matches!(before.recall(Some(&right)), Ok(Decision::Welcome)));
        assert!(before.recall(Some(&header("prom:other"))).is_err());

        let after = |users: BTreeMap<String, Hash>| {
            let after = Users::new(users);
            after.remember(&before);
            after.recall(Some(&right)).ok()
        };
        assert_eq!(after(before.users.clone()), Some(Decision::Welcome));
        assert_eq!(after(users().users), None);
        assert_eq!(after(BTreeMap::from([("b".to_owned(), before.users["prom"].clone())])), None);
    }

    #[test]
    fn a_long_password_is_wrong_even_where_bcrypt_would_cut_it() {
        let password = "x".repeat(MAX_PASSWORD);
        let hash = Hash::parse(bcrypt::hash(&password, 4).unwrap()).unwrap();
        let users = Users::new(BTreeMap::from([("a".to_owned(), hash)]));
        assert_eq!(decide(&users, Some(&header(&format!("a:{password}y")))), Decision::Unknown);
    }

    #[test]
    fn the_hash_of_nobody_is_one() {
        assert!([4, 10, 31].into_iter().all(|cost| Hash::parse(nobody(cost)).unwrap().cost() == cost));
        assert!(Hash::parse("secret".to_owned()).is_none());
    }

    #[test]
    fn every_check_takes_as_many_rounds() {
        let hash = |cost| Hash::parse(bcrypt::hash("secret", cost).unwrap()).unwrap();
        let [low, high] = [("low", 4), ("high", 7)].map(|(user, cost)| (user.to_owned(), hash(cost)));
        let users = Users::new([low, high].into());
        let rounds = |user: &str| {
            let claim = users.recall(Some(&header(&format!("{user}:wrong")))).err().unwrap();
            let own = claim.hash.iter().map(Hash::cost);
            own.chain(users.fill(&claim)).map(|cost| 1 << cost).sum::<u32>()
        };
        assert_eq!(["low", "high", "nobody"].map(rounds), [1 << 7; 3]);
        for user in ["low", "high"] {
            assert_eq!(decide(&users, Some(&header(&format!("{user}:secret")))), Decision::Welcome);
        }
    }
}
