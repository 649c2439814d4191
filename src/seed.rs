//! The only maker of random number generators.
//!
//! Every draw in the program comes from a generator made here, keyed by what is
//! drawn for (the *purpose*) and for which unit (the *index*). Unit `i` therefore
//! never depends on unit `i - 1`, on the number of workers, or on draws that were
//! made for another purpose.

use rand::SeedableRng;
use serde::{Deserialize, Serialize};

/// The generator that all sampling code takes. ChaCha8 is portable: the same key
/// gives the same stream on every platform and in every later version of `rand`.
pub type Generator = rand_chacha::ChaCha8Rng;

/// A 256-bit key from which generators and further keys are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedKey([u8; 32]);

impl SeedKey {
    /// Makes a key from the user's `--seed` and from what it is used on, usually
    /// the bytes of a [`PlanHash`]. Callers whose draws must agree between plans
    /// (nested mixtures, for one) pass a constant instead.
    pub fn new(context: &[u8], seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("admix seed key v1");
        hasher.update(&(context.len() as u64).to_le_bytes());
        hasher.update(context);
        hasher.update(&seed.to_le_bytes());
        SeedKey(*hasher.finalize().as_bytes())
    }

    /// Derives the key of one unit of work.
    pub fn child(&self, purpose: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        hasher.update(&index.to_le_bytes());
        SeedKey(*hasher.finalize().as_bytes())
    }

    /// Makes the generator for `purpose` of unit `index`.
    pub fn generator(&self, purpose: &str, index: u64) -> Generator {
        Generator::from_seed(self.child(purpose, index).0)
    }

    /// The first 64 bits of the key, for libraries that seed themselves from an
    /// integer and for manifests.
    pub fn to_u64(self) -> u64 {
        let (head, _) = self.0.split_first_chunk::<8>().expect("a key has 32 bytes");
        u64::from_le_bytes(*head)
    }
}

/// BLAKE3 of a plan's canonical JSON, in hexadecimal.
///
/// It goes into every manifest and result, so that outputs of different plans are
/// never mixed up when a run resumes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(String);

impl PlanHash {
    /// Hashes a plan. Plans hold no floating-point NaN and no maps with keys other
    /// than strings, so that serialisation cannot fail.
    pub fn of<T: Serialize + ?Sized>(plan: &T) -> Self {
        let json = serde_json::to_vec(plan).expect("plans serialise to JSON");
        PlanHash(blake3::hash(&json).to_hex().to_string())
    }

    /// The hash in hexadecimal, 64 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn streams_are_pinned_by_value() {
        let mut generator = SeedKey::new(b"plan", 7).generator("camera", 3);
        let drawn: [u32; 2] = [generator.random(), generator.random()];
        assert_eq!(
            drawn,
            [15231655, 2664381202],
            "a change here changes every generated data set"
        );
    }

    #[test]
    fn purpose_index_seed_and_context_each_change_the_stream() {
        let base = SeedKey::new(b"plan", 7);
        let mut keys = vec![
            base.child("camera", 0),
            base.child("camera", 1),
            base.child("light", 0),
            SeedKey::new(b"plan", 8).child("camera", 0),
            SeedKey::new(b"plam", 7).child("camera", 0),
        ];
        keys.dedup();
        let distinct: std::collections::HashSet<_> = keys.iter().map(|key| key.0).collect();
        assert_eq!(distinct.len(), 5);
    }
}
