//! The only source of random bytes in the sans-IO layers: a ChaCha20 stream that the shell seeds once from the system.

use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use zeroize::Zeroize;

/// A generator of random bytes that the caller owns: the same seed gives the same bytes.
pub struct Random(Source);

enum Source {
    ChaCha(Box<ChaCha20Rng>),
    Counting(u8),
}

impl Random {
    /// Creates a generator from 32 bytes, which must come from the operating system and serve nothing else.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let generator = ChaCha20Rng::from_seed(seed);
        seed.zeroize();
        Self(Source::ChaCha(Box::new(generator)))
    }

    /// Creates a generator that yields 0, 1, 2, ... 255, 0, ...: for test vectors and tests, and nothing else.
    pub fn counting() -> Self {
        Self(Source::Counting(0))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        match &mut self.0 {
            Source::ChaCha(generator) => generator.fill_bytes(bytes),
            Source::Counting(next) => {
                for byte in bytes {
                    *byte = *next;
                    *next = next.wrapping_add(1);
                }
            }
        }
    }

    /// Returns `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.array()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

/// The generation of the trait that `spake2` takes.
impl rand_core_06::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for Random {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let bytes: [u8; 48] = Random::from_seed([7; 32]).array();
        assert_eq!(bytes, Random::from_seed([7; 32]).array::<48>());
        assert_ne!(bytes, Random::from_seed([8; 32]).array::<48>());
    }

    #[test]
    fn the_counting_generator_counts_across_calls_and_wraps() {
        let mut random = Random::counting();
        assert_eq!(random.array::<3>(), [0, 1, 2]);
        random.array::<252>();
        assert_eq!(random.array::<3>(), [255, 0, 1]);
    }
}
