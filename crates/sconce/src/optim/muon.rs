//! Muon: Jordan et al., "Muon: an optimizer for hidden layers in neural networks".

use super::options::{check_non_negative, options, zeros};
use super::rule::{Rule, invalid};
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// How [`Muon`] fits the rate to the shape of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdjustLr {
    /// As `Original`; the option is left out in a checkpoint.
    #[default]
    Default,
    /// Times √max(1, rows / columns).
    Original,
    /// Times 0.2 · √max(rows, columns), so that updates are as large as AdamW's.
    MatchRmsAdamW,
}

impl From<AdjustLr> for Value {
    fn from(how: AdjustLr) -> Self {
        match how {
            AdjustLr::Default => Self::None,
            AdjustLr::Original => Self::Text("original".into()),
            AdjustLr::MatchRmsAdamW => Self::Text("match_rms_adamw".into()),
        }
    }
}

impl TryFrom<&Value> for AdjustLr {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self> {
        let all = [Self::Default, Self::Original, Self::MatchRmsAdamW];
        all.into_iter().find(|how| Value::from(*how) == *value).ok_or_else(|| {
            Error::load(format!("expected original, match_rms_adamw or none, found {value:?}"))
        })
    }
}

/// Momentum made orthogonal, for matrices; PyTorch's `Muon`, with its defaults.
///
/// ```
/// use sconce::nn::Linear;
/// use sconce::optim::{Muon, Optimizer};
/// let layer = Linear::new(4, 3)?;
/// let mut optimizer = Optimizer::new(vec![layer.weight.clone()], Muon::default())?;
/// layer.weight.set_grad(Some(layer.weight.ones_like()?))?;
/// optimizer.step()?;
/// assert!(Optimizer::new(&layer, Muon::default()).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Muon {
    /// The learning rate; 0.001.
    pub lr: f64,
    /// The share of the parameter, times `lr`, that a step takes away; 0.1.
    pub weight_decay: f64,
    /// How much of the running mean of gradients is kept; 0.95.
    pub momentum: f64,
    /// Whether momentum looks ahead; true.
    pub nesterov: bool,
    /// The coefficients of the iteration that makes a matrix orthogonal; (3.4445, −4.7750, 2.0315).
    pub ns_coefficients: (f64, f64, f64),
    /// The least norm that a matrix is divided by; 1e-7.
    pub eps: f64,
    /// How often the iteration runs; 5.
    pub ns_steps: u32,
    /// How the rate is fitted to the shape of a matrix; as in the original.
    pub adjust_lr_fn: AdjustLr,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            ns_coefficients: (3.4445, -4.7750, 2.0315),
            eps: 1e-7,
            ns_steps: 5,
            adjust_lr_fn: AdjustLr::Default,
        }
    }
}

/// What [`Muon`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct MuonState {
    /// The running mean of gradients.
    pub momentum_buffer: Buffer,
}

impl Rule for Muon {
    type State = MuonState;

    const NAME: &'static str = "Muon";

    options!(lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, weight_decay, momentum);
        if self.ns_steps >= 100 {
            return Err(invalid(Self::NAME, "ns_steps", self.ns_steps, "less than 100"));
        }
        Ok(())
    }

    fn accepts(&self, p: &Tensor) -> Result<()> {
        if p.dim() == 2 {
            return Ok(());
        }
        Err(Error::argument(format!("needs a matrix, found a parameter of shape {:?}", p.shape())))
    }

    fn init(&self, p: &Tensor) -> Result<MuonState> {
        Ok(MuonState { momentum_buffer: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut MuonState) -> Result<()> {
        let buffer = &state.momentum_buffer;
        buffer.lerp_(grad, 1.0 - self.momentum)?;
        let update = if self.nesterov { grad.lerp(buffer, self.momentum)? } else { buffer.tensor().clone() };
        let update = self.orthogonal(&update)?.to(p.dtype())?;
        let (rows, columns) = (p.shape()[0] as f64, p.shape()[1] as f64);
        let ratio = match self.adjust_lr_fn {
            AdjustLr::MatchRmsAdamW => 0.2 * rows.max(columns).sqrt(),
            _ => (rows / columns).max(1.0).sqrt(),
        };
        p.mul_(1.0 - self.lr * self.weight_decay)?;
        p.sub_(&update.mul(self.lr * ratio)?)
    }
}

impl Muon {
    /// Nearly U Vᵀ of a matrix U S Vᵀ, by a quintic Newton–Schulz iteration in bfloat16.
    fn orthogonal(&self, matrix: &Tensor) -> Result<Tensor> {
        let (a, b, c) = self.ns_coefficients;
        // What is kept is rounded to bfloat16; products are summed in single precision.
        let rounded = |t: &Tensor| t.to(DType::BF16)?.to(DType::F32);
        let mut x = rounded(matrix)?;
        let tall = x.shape()[0] > x.shape()[1];
        if tall {
            x = x.t()?;
        }
        let norm = rounded(&rounded(&x.norm(2.0, ())?)?.clamp_min(self.eps)?)?;
        x = rounded(&x.div(&norm)?)?;
        for _ in 0..self.ns_steps {
            let gram = rounded(&x.matmul(&x.t()?)?)?;
            let update = rounded(&scaled_sum(&gram, b, &gram.matmul(&gram)?.mul(c)?)?)?;
            x = rounded(&scaled_sum(&x, a, &update.matmul(&x)?)?)?;
        }
        if tall { x.t() } else { Ok(x) }
    }
}

/// x · scale + y with one rounding to float32, as PyTorch's product adds: another rounding may turn the one to bfloat16,
/// and the iteration makes much of it.
fn scaled_sum(x: &Tensor, scale: f64, y: &Tensor) -> Result<Tensor> {
    x.to(DType::F64)?.mul(f64::from(scale as f32))?.add(&y.to(DType::F64)?)?.to(DType::F32)
}
