//! Random numbers: PyTorch's CPU generator and the fills drawn from it, bit for bit.
//!
//! A [`Generator`] seeded like `torch.manual_seed` gives the values that PyTorch 2.13 gives on a CPU with fused
//! multiply-adds, whatever the CPU here. All functions are safe, take the generator first, and fill a slice in the
//! order of memory: for a dense tensor that is the order of its storage, not of its indices. They are total: a
//! parameter outside its domain (a negative deviation, a probability above 1) gives meaningless numbers, never a panic,
//! so whoever offers them to users checks first.
//!
//! | PyTorch | here |
//! |---|---|
//! | `rand`, `uniform_` | [`uniform`] |
//! | `randn`, `normal_` | [`normal`]; for tensors that are not contiguous [`normal_each`] |
//! | `randint`, `random_(low, high)` | [`randint`] |
//! | `random_()` | [`random`] |
//! | `randperm` | [`randperm`] |
//! | `bernoulli_(p)`, dropout's kept elements | [`bernoulli`] |
//! | `bernoulli(p)` with a tensor | [`bernoulli_each`] |
//! | `exponential_`, `cauchy_`, `geometric_`, `log_normal_` | [`exponential`], [`cauchy`], [`geometric`], [`log_normal`] |
//! | `multinomial` | [`multinomial`] |
//! | `rrelu` in training | [`rrelu`] |
//!
//! The bits depend on the C library only where float64 `ln`, `ln_1p`, `sin`, `cos`, `tan` and `exp` do.
//!
//! ```
//! use sconce_kernels::rng::{Generator, normal, uniform};
//!
//! let mut generator = Generator::new(0);
//! let mut x = [0_f32; 3];
//! uniform(&mut generator, &mut x, 0.0, 1.0);
//! assert_eq!(x, [0.49625659, 0.7682218, 0.08847743]); // torch.manual_seed(0); torch.rand(3)
//! normal(&mut generator, &mut x, 0.0, 1.0);
//! ```

mod distribution;
mod element;
mod generator;
mod integer;
mod multinomial;
mod normal;
mod uniform;

pub use distribution::{bernoulli, bernoulli_each, cauchy, exponential, geometric, log_normal, rrelu};
pub use element::{RandomElement, RandomFloat};
pub use generator::{Generator, STATE_BYTES, StateError};
pub use integer::{randint, random, randperm};
pub use multinomial::multinomial;
pub use normal::{normal, normal_each, normal_scalar};
pub use uniform::uniform;
