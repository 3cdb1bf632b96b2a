//! New values from a distribution: PyTorch's numbers, made while they are read.
//!
//! PyTorch fills one tensor after another from one generator. Here each tensor is made in blocks when its bytes are
//! asked for; the generator's state at the start of each tensor is kept, so any order of reading gives the same
//! numbers. A block is a multiple of the 16 numbers that PyTorch's normal distribution makes at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use half::{bf16, f16};
use sconce_kernels::rng::{self, Generator};

use crate::io::{ReadAt, range};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Elements made at once; the last block of a tensor also has what does not fill one.
const BLOCK: usize = 1 << 16;

/// The distributions of `torch.nn.init` and of the methods of a tensor, by name, with their parameters' defaults.
const NAMES: &[(&str, &[(&str, f64)])] = &[
    ("uniform", &[("a", 0.0), ("b", 1.0)]),
    ("normal", &[("mean", 0.0), ("std", 1.0)]),
    ("log_normal", &[("mean", 1.0), ("std", 2.0)]),
    ("exponential", &[("lambd", 1.0)]),
    ("cauchy", &[("median", 0.0), ("sigma", 1.0)]),
    ("xavier_uniform", &[("gain", 1.0)]),
    ("xavier_normal", &[("gain", 1.0)]),
    ("kaiming_uniform", &[("a", 0.0)]),
    ("kaiming_normal", &[("a", 0.0)]),
];

/// A distribution whose parameters may depend on a tensor's shape.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    name: &'static str,
    parameters: [f64; 2],
    /// Kaiming's `mode=fan_out`.
    fan_out: bool,
}

/// A distribution with all its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Draw {
    Uniform(f64, f64),
    Normal(f64, f64),
    LogNormal(f64, f64),
    Exponential(f64),
    Cauchy(f64, f64),
}

impl Distribution {
    pub(super) fn parse(name: &str, options: &[(String, String)]) -> Result<Self> {
        // PyTorch's initialisers end in `_`.
        let plain = name.trim_end_matches('_');
        let Some(&(name, parameters)) = NAMES.iter().find(|(n, _)| *n == plain) else {
            let names: Vec<_> = NAMES.iter().map(|n| n.0).collect();
            let names = names.join(", ");
            return Err(Error::argument(format!("no distribution is named `{plain}`; there are {names}")));
        };
        let mut out = Self { name, parameters: [0.0; 2], fan_out: false };
        for (place, (_, default)) in out.parameters.iter_mut().zip(parameters) {
            *place = *default;
        }
        for (key, value) in options {
            if key == "mode" && name.starts_with("kaiming") {
                out.fan_out = match value.as_str() {
                    "fan_in" => false,
                    "fan_out" => true,
                    _ => return Err(Error::argument(format!("expected fan_in or fan_out, found `{value}`"))),
                };
                continue;
            }
            let place = parameters.iter().position(|(n, _)| n == key);
            let place = place.ok_or_else(|| Error::argument(format!("{name} takes no `{key}`")))?;
            out.parameters[place] =
                value.parse().map_err(|_| Error::argument(format!("expected a number, found `{value}`")))?;
        }
        Ok(out)
    }

    /// The distribution for a tensor of this shape.
    pub(super) fn resolve(&self, shape: &[usize]) -> Result<Draw> {
        let [a, b] = self.parameters;
        let fans = || match shape {
            [out, inputs, area @ ..] => {
                let area: usize = area.iter().product();
                Ok(((inputs * area) as f64, (out * area) as f64))
            }
            _ => Err(Error::shape(format!("{}: expected at least 2 dimensions, found {shape:?}", self.name))),
        };
        let xavier = || fans().map(|(inputs, outputs)| a * (2.0 / (inputs + outputs)).sqrt());
        let kaiming = || {
            let gain = (2.0 / (1.0 + a * a)).sqrt();
            fans().map(|(inputs, outputs)| gain / (if self.fan_out { outputs } else { inputs }).sqrt())
        };
        let around = |std: f64| Draw::Uniform(-(3f64.sqrt() * std), 3f64.sqrt() * std);
        let draw = match self.name {
            "uniform" => Draw::Uniform(a, b),
            "normal" => Draw::Normal(a, b),
            "log_normal" => Draw::LogNormal(a, b),
            "exponential" => Draw::Exponential(a),
            "cauchy" => Draw::Cauchy(a, b),
            "xavier_uniform" => around(xavier()?),
            "xavier_normal" => Draw::Normal(0.0, xavier()?),
            "kaiming_uniform" => around(kaiming()?),
            _ => Draw::Normal(0.0, kaiming()?),
        };
        draw.check()?;
        Ok(draw)
    }
}

impl Draw {
    fn check(self) -> Result<()> {
        let sound = match self {
            Self::Uniform(a, b) => a <= b && (b - a).is_finite(),
            Self::Normal(_, std) => std >= 0.0,
            Self::LogNormal(_, std) => std > 0.0,
            Self::Exponential(rate) => rate > 0.0,
            Self::Cauchy(_, sigma) => sigma > 0.0,
        };
        if sound { Ok(()) } else { Err(Error::argument(format!("no such distribution: {self:?}"))) }
    }

    /// Fills a live tensor from the present generator.
    pub(super) fn fill_(self, x: &Tensor) -> Result<()> {
        match self {
            Self::Uniform(a, b) => x.uniform_(a, b),
            Self::Normal(mean, std) => x.normal_(mean, std),
            Self::LogNormal(mean, std) => x.log_normal_(mean, std),
            Self::Exponential(rate) => x.exponential_(rate),
            Self::Cauchy(median, sigma) => x.cauchy_(median, sigma),
        }
    }

    /// The bytes of the next `count` elements.
    fn make(self, generator: &mut Generator, dtype: DType, count: usize) -> Result<Vec<u8>> {
        macro_rules! make {
            ($($dtype:ident: $type:ty = $zero:expr,)*) => {
                match dtype {
                    $(DType::$dtype => {
                        let mut out: Vec<$type> = vec![$zero; count];
                        match self {
                            Self::Uniform(a, b) => rng::uniform(generator, &mut out, a, b),
                            Self::Normal(mean, std) => rng::normal(generator, &mut out, mean, std),
                            Self::LogNormal(mean, std) => rng::log_normal(generator, &mut out, mean, std),
                            Self::Exponential(rate) => rng::exponential(generator, &mut out, rate),
                            Self::Cauchy(median, sigma) => rng::cauchy(generator, &mut out, median, sigma),
                        }
                        Ok(out.into_iter().flat_map(<$type>::to_le_bytes).collect())
                    })*
                    other => Err(Error::dtype(format!("random numbers need a floating point tensor, found {other}"))),
                }
            };
        }
        make! {
            F64: f64 = 0.0,
            F32: f32 = 0.0,
            F16: f16 = f16::ZERO,
            BF16: bf16 = bf16::ZERO,
        }
    }
}

/// A tensor to be drawn.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) draw: Draw,
    pub(super) dtype: DType,
    pub(super) numel: usize,
}

impl Wanted {
    fn blocks(&self) -> usize {
        (self.numel / BLOCK).max(1)
    }

    fn block_len(&self, block: usize) -> usize {
        if block + 1 == self.blocks() { self.numel - block * BLOCK } else { BLOCK }
    }
}

/// Tensors that are drawn one after another from one generator.
pub(super) struct Sequence {
    wanted: Vec<Wanted>,
    /// The generator at the start of each tensor, as far as known.
    starts: Mutex<Vec<Generator>>,
}

impl Sequence {
    pub(super) fn new(seed: u64, wanted: Vec<Wanted>) -> Result<Arc<Self>> {
        for tensor in &wanted {
            tensor.draw.make(&mut Generator::new(0), tensor.dtype, 1)?;
        }
        Ok(Arc::new(Self { wanted, starts: Mutex::new(vec![Generator::new(seed)]) }))
    }

    /// The bytes of each tensor.
    pub(super) fn tensors(self: &Arc<Self>) -> impl Iterator<Item = Arc<Drawn>> {
        let drawn = |index| Arc::new(Drawn { sequence: Arc::clone(self), index, cursor: Mutex::new(None) });
        (0..self.wanted.len()).map(drawn)
    }

    fn start(&self, index: usize) -> Result<Generator> {
        let mut starts = lock(&self.starts);
        while starts.len() <= index {
            let last = starts.len() - 1;
            let (tensor, mut generator) = (self.wanted[last], starts[last].clone());
            for block in 0..tensor.blocks() {
                tensor.draw.make(&mut generator, tensor.dtype, tensor.block_len(block))?;
            }
            starts.push(generator);
        }
        Ok(starts[index].clone())
    }

    fn ended(&self, index: usize, generator: &Generator) {
        let mut starts = lock(&self.starts);
        if starts.len() == index + 1 {
            starts.push(generator.clone());
        }
    }
}

/// The bytes of a drawn tensor. Reading on costs nothing extra; reading back starts the tensor again.
pub(super) struct Drawn {
    sequence: Arc<Sequence>,
    index: usize,
    cursor: Mutex<Option<Cursor>>,
}

struct Cursor {
    block: usize,
    bytes: Vec<u8>,
    after: Generator,
}

impl ReadAt for Drawn {
    fn size(&self) -> u64 {
        let wanted = &self.sequence.wanted[self.index];
        (wanted.numel * wanted.dtype.size()) as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size())?;
        let wanted = self.sequence.wanted[self.index];
        let block_bytes = BLOCK * wanted.dtype.size();
        let mut cursor = lock(&self.cursor);
        let (mut at, mut filled) = (offset as usize, 0);
        while filled < out.len() {
            let block = (at / block_bytes).min(wanted.blocks() - 1);
            let mut held = match cursor.take() {
                Some(held) if held.block <= block => held,
                _ => self.block(0, self.sequence.start(self.index)?)?,
            };
            while held.block < block {
                held = self.block(held.block + 1, held.after)?;
            }
            let start = at - block * block_bytes;
            let take = (held.bytes.len() - start).min(out.len() - filled);
            out[filled..filled + take].copy_from_slice(&held.bytes[start..start + take]);
            (at, filled) = (at + take, filled + take);
            *cursor = Some(held);
        }
        if offset + out.len() as u64 == self.size() {
            // Read to its end, it is seldom read again: the memory goes.
            *cursor = None;
        }
        Ok(())
    }
}

impl Drawn {
    fn block(&self, block: usize, mut generator: Generator) -> Result<Cursor> {
        let wanted = self.sequence.wanted[self.index];
        let bytes = wanted.draw.make(&mut generator, wanted.dtype, wanted.block_len(block))?;
        if block + 1 == wanted.blocks() {
            self.sequence.ended(self.index, &generator);
        }
        Ok(Cursor { block, bytes, after: generator })
    }
}

/// What the lock guards is replaced as a whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_tensor_and_any_order_will_do() -> Result<()> {
        let sizes = [5, BLOCK + 7, 2 * BLOCK + 16, 0, 20];
        let draws = [
            Draw::Normal(0.5, 2.0),
            Draw::Uniform(-1.0, 1.0),
            Draw::Normal(0.0, 1.0),
            Draw::Exponential(2.0),
        ];
        let wanted: Vec<Wanted> = sizes
            .iter()
            .zip(draws.iter().cycle())
            .map(|(&numel, &draw)| Wanted { draw, dtype: DType::F32, numel })
            .collect();
        let mut generator = Generator::new(3);
        let whole: Vec<Vec<u8>> =
            wanted.iter().map(|w| w.draw.make(&mut generator, w.dtype, w.numel)).collect::<Result<_>>()?;
        let tensors: Vec<_> = Sequence::new(3, wanted)?.tensors().collect();
        for i in [4, 0, 2, 1, 3] {
            let mut bytes = vec![0; tensors[i].size() as usize];
            let cut = bytes.len() / 3 + 1;
            for (n, part) in bytes.chunks_mut(cut).enumerate() {
                tensors[i].read_at((n * cut) as u64, part)?;
            }
            assert!(bytes == whole[i], "{i}");
            let mut one = [0; 1];
            if bytes.len() > 10 {
                tensors[i].read_at(9, &mut one)?;
                assert_eq!(one[0], whole[i][9]);
            }
        }
        Ok(())
    }
}
