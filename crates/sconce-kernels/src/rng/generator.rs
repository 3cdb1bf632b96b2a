//! The generator: Mersenne Twister 19937, as PyTorch seeds, draws and stores it.

use crate::isa::{Kernel, dispatch};
use std::fmt;

/// Words in a block; one recurrence makes a whole block.
const WORDS: usize = 624;
/// Distance of the word that the recurrence mixes in.
const SHIFT: usize = 397;
/// Elements that a fill draws at a time: a multiple of 16 whose buffers stay in the nearest cache.
pub(super) const CHUNK: usize = 512;
/// Bytes of a generator's state, as `torch.get_rng_state` returns it.
pub const STATE_BYTES: usize = 5056;

/// Draws random numbers like PyTorch's generator on the CPU.
///
/// Two generators with one seed give one stream. The stream depends on the low 32 bits of the seed only, as in PyTorch.
///
/// ```
/// use sconce_kernels::rng::Generator;
///
/// let mut generator = Generator::new(5);
/// let state = generator.state();
/// let first = generator.next_u64();
/// generator.set_state(&state)?;
/// assert_eq!(generator.next_u64(), first);
/// assert_eq!(Generator::new((1 << 32) + 5).next_u64(), first);
/// # Ok::<(), sconce_kernels::rng::StateError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Generator {
    seed: u64,
    block: [u32; WORDS],
    /// Index of the next word in `block`; `WORDS` after the last, and 0 only right after seeding, when `block` is the
    /// seed of the first block. Both mean that a new block is due.
    next: usize,
    /// The second normal of the last pair that [`normal_scalar`](super::normal_scalar) made, if not yet taken.
    pub(super) cached_normal: Option<f64>,
}

impl Generator {
    /// Creates a generator as `torch.Generator().manual_seed(seed)` does.
    pub fn new(seed: u64) -> Self {
        let mut block = [0; WORDS];
        // The stream depends on the low half only: the reference implementation takes 32 bits.
        block[0] = seed as u32;
        for i in 1..WORDS {
            let last: u32 = block[i - 1];
            block[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { seed, block, next: 0, cached_normal: None }
    }

    /// Returns the seed that the generator was created with, or that its state came with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Draws 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        temper(self.words(1)[0])
    }

    /// Draws 64 uniform bits: two words, of which the first is the high half.
    pub fn next_u64(&mut self) -> u64 {
        let high = self.next_u32();
        u64::from(high) << 32 | u64::from(self.next_u32())
    }

    /// Draws a multiple of 2⁻²⁴ in [0, 1) from one word.
    ///
    /// ```
    /// let mut generator = sconce_kernels::rng::Generator::new(0);
    /// assert_eq!(generator.next_f32(), 0.49625659);
    /// ```
    pub fn next_f32(&mut self) -> f32 {
        u24(self.next_u32())
    }

    /// Draws a multiple of 2⁻⁵³ in [0, 1) from two words.
    pub fn next_f64(&mut self) -> f64 {
        let high = self.next_u32();
        u53(high, self.next_u32())
    }

    /// Returns the state as the 5056 bytes of `torch.get_rng_state`.
    ///
    /// Little-endian: u64 seed; i32 `left`; i32 1; u64 `next`; 624 words as u64; f64 0; f64 cached normal; f64 0;
    /// i32 whether it is cached; 4 bytes 0; f32 0; bool 0; 3 bytes 0. `left` − 1 words remain of the block.
    pub fn state(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        };
        put(&self.seed.to_le_bytes());
        put(&left(self.next).to_le_bytes());
        put(&1_u32.to_le_bytes());
        put(&(self.next as u64).to_le_bytes());
        for &word in &self.block {
            put(&u64::from(word).to_le_bytes());
        }
        put(&[0; 8]);
        put(&self.cached_normal.unwrap_or(0.0).to_le_bytes());
        put(&[0; 8]);
        put(&u32::from(self.cached_normal.is_some()).to_le_bytes());
        bytes
    }

    /// Takes over a state that [`state`](Self::state) or `torch.get_rng_state` returned.
    ///
    /// # Errors
    ///
    /// If the bytes are no state of this generator. The generator is then unchanged.
    pub fn set_state(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        if bytes.len() != STATE_BYTES {
            return Err(StateError(format!("expected {STATE_BYTES} bytes, found {}", bytes.len())));
        }
        let mut rest = bytes;
        let seed = take_u64(&mut rest);
        let found_left = take_u32(&mut rest);
        let seeded = take_u32(&mut rest);
        let found_next = take_u64(&mut rest);
        if seeded != 1 {
            return Err(StateError(format!("expected 1 as the mark of a seeded generator, found {seeded}")));
        }
        let next = usize::try_from(found_next).ok().filter(|&next| next <= WORDS && left(next) == found_left);
        let next = next.ok_or_else(|| {
            StateError(format!("{found_left} words left and {found_next} as the next one exclude each other"))
        })?;
        let mut block = [0; WORDS];
        for (i, word) in block.iter_mut().enumerate() {
            let found = take_u64(&mut rest);
            *word = u32::try_from(found)
                .map_err(|_| StateError(format!("word {i} exceeds 32 bits: {found:#x}")))?;
        }
        take_u64(&mut rest);
        let cached = f64::from_bits(take_u64(&mut rest));
        take_u64(&mut rest);
        let cached_normal = match take_u32(&mut rest) {
            0 => None,
            1 => Some(cached),
            found => {
                return Err(StateError(format!(
                    "expected 0 or 1 as the mark of a cached normal, found {found}"
                )));
            }
        };
        // Behind 4 bytes of padding and the number itself.
        if bytes[STATE_BYTES - 4] != 0 {
            return Err(StateError("expected no cached float32 normal, found one".to_owned()));
        }
        *self = Self { seed, block, next, cached_normal };
        Ok(())
    }

    /// Fills `out` with the next words.
    #[inline(always)]
    pub(super) fn fill_u32(&mut self, mut out: &mut [u32]) {
        while !out.is_empty() {
            let words = self.words(out.len());
            let (now, later) = out.split_at_mut(words.len());
            for (out, &word) in now.iter_mut().zip(words) {
                *out = temper(word);
            }
            out = later;
        }
    }

    /// Fills `out` with multiples of 2⁻²⁴ in [0, 1).
    #[inline(always)]
    pub(super) fn fill_u24(&mut self, out: &mut [f32]) {
        let mut words = [0; CHUNK];
        for out in out.chunks_mut(CHUNK) {
            let words = &mut words[..out.len()];
            self.fill_u32(words);
            for (out, &word) in out.iter_mut().zip(&*words) {
                *out = u24(word);
            }
        }
    }

    /// Fills `out` with multiples of 2⁻⁵³ in [0, 1).
    #[inline(always)]
    pub(super) fn fill_u53(&mut self, out: &mut [f64]) {
        let mut words = [0; 2 * CHUNK];
        for out in out.chunks_mut(CHUNK) {
            let words = &mut words[..2 * out.len()];
            self.fill_u32(words);
            for (out, pair) in out.iter_mut().zip(words.chunks_exact(2)) {
                *out = u53(pair[0], pair[1]);
            }
        }
    }

    /// Takes at least one and at most `n` of the block's words, which are still to be tempered.
    #[inline(always)]
    fn words(&mut self, n: usize) -> &[u32] {
        if self.next == 0 || self.next == WORDS {
            dispatch(Twist(&mut self.block));
            self.next = 0;
        }
        let start = self.next;
        self.next = WORDS.min(start + n);
        &self.block[start..self.next]
    }
}

/// The seed of PyTorch's default generator before any `manual_seed`.
impl Default for Generator {
    fn default() -> Self {
        Self::new(67_280_421_310_721)
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("seed", &self.seed)
            .field("next", &self.next)
            .field("cached_normal", &self.cached_normal)
            .finish_non_exhaustive()
    }
}

/// Says why bytes are not the state of a [`Generator`].
///
/// ```
/// let error = sconce_kernels::rng::Generator::new(0).set_state(&[0; 3]).unwrap_err();
/// assert_eq!(error.to_string(), "generator state: expected 5056 bytes, found 3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generator state: {}", self.0)
    }
}

impl std::error::Error for StateError {}

/// PyTorch's count of what remains of a block, plus one; 1 as well when no block was made yet.
fn left(next: usize) -> u32 {
    if next == 0 { 1 } else { (WORDS + 1 - next) as u32 }
}

fn take_u64(rest: &mut &[u8]) -> u64 {
    let low = u64::from(take_u32(rest));
    low | u64::from(take_u32(rest)) << 32
}

fn take_u32(rest: &mut &[u8]) -> u32 {
    let Some((word, tail)) = rest.split_first_chunk() else { return 0 };
    *rest = tail;
    u32::from_le_bytes(*word)
}

/// The multiple of 2⁻²⁴ in [0, 1) that a word stands for.
#[inline(always)]
pub(super) fn u24(word: u32) -> f32 {
    const UNIT: f32 = 1.0 / (1 << 24) as f32;
    // Through i32, which is one instruction where u32 takes several.
    (word & 0x00ff_ffff) as i32 as f32 * UNIT
}

/// The multiple of 2⁻⁵³ in [0, 1) that two words stand for; each step is exact.
#[inline(always)]
pub(super) fn u53(high: u32, low: u32) -> f64 {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    const HIGH: f64 = 1.0 / (1 << 21) as f64;
    f64::from((high & 0x001f_ffff) as i32) * HIGH + f64::from(low) * UNIT
}

/// The last step of drawing a word: spreads its bits.
#[inline(always)]
fn temper(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c_5680;
    word ^= word << 15 & 0xefc6_0000;
    word ^ word >> 18
}

/// Makes the next block in place.
struct Twist<'a>(&'a mut [u32; WORDS]);

impl Kernel for Twist<'_> {
    #[inline(always)]
    fn run(self) {
        let block = self.0;
        // The loops run within what is known to be independent, so that they are vectorised.
        for i in 0..WORDS - SHIFT {
            block[i] = block[i + SHIFT] ^ mix(block[i], block[i + 1]);
        }
        for i in WORDS - SHIFT..WORDS - 1 {
            block[i] = block[i + SHIFT - WORDS] ^ mix(block[i], block[i + 1]);
        }
        block[WORDS - 1] = block[SHIFT - 1] ^ mix(block[WORDS - 1], block[0]);
    }
}

#[inline(always)]
fn mix(this: u32, next: u32) -> u32 {
    let odd = (next & 1).wrapping_neg() & 0x9908_b0df;
    ((this & 0x8000_0000) | (next & 0x7fff_ffff)) >> 1 ^ odd
}
