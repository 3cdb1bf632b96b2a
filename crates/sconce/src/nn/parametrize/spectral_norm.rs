//! Spectral normalisation: Miyato et al., "Spectral normalization for generative adversarial networks".

use super::{Keys, Parametrization, register};
use crate::functional;
use crate::nn::{Buffer, Mode};
use crate::select::IntoSelector;
use crate::tensor::Tensor;
use crate::{Error, Module, Result, no_grad};

/// The options of [`spectral_norm`].
#[derive(Clone, Debug, PartialEq)]
pub struct SpectralNormConfig {
    /// How often the estimate of the singular vectors is improved in each forward in training mode; 1.
    pub n_power_iterations: usize,
    /// The dimension of the outputs; 0.
    pub dim: usize,
    /// The least norm that a vector is divided by; 1e-12.
    pub eps: f64,
}

impl Default for SpectralNormConfig {
    fn default() -> Self {
        Self { n_power_iterations: 1, dim: 0, eps: 1e-12 }
    }
}

/// A weight by its greatest singular value, which is estimated by power iteration.
#[derive(Clone, Debug, Module)]
pub struct SpectralNorm {
    /// The left singular vector, `_u`.
    #[module(rename = "_u")]
    pub u: Option<Buffer>,
    /// The right singular vector, `_v`.
    #[module(rename = "_v")]
    pub v: Option<Buffer>,
    /// Whether each forward improves the vectors.
    pub mode: Mode,
    n_power_iterations: usize,
    dim: usize,
    eps: f64,
    /// Whether an iteration begins with the right vector, as that of the older function does.
    right_first: bool,
}

impl SpectralNorm {
    /// Makes the parametrisation for a weight: draws two vectors and improves them 15 times.
    ///
    /// # Errors
    ///
    /// If the weight has no dimension `dim`, or there are no iterations.
    pub fn new(weight: &Tensor, config: &SpectralNormConfig) -> Result<Self> {
        let this = Self::drawn(weight, config, false)?;
        if weight.dim() > 1 {
            this.improve(&this.matrix(weight)?, 15)?;
        }
        Ok(this)
    }

    fn drawn(weight: &Tensor, config: &SpectralNormConfig, right_first: bool) -> Result<Self> {
        let &SpectralNormConfig { n_power_iterations, dim, eps } = config;
        if dim >= weight.dim() {
            return Err(Error::index(format!("no dimension {dim} in shape {:?}", weight.shape())));
        }
        if n_power_iterations == 0 {
            return Err(Error::argument("n_power_iterations must be at least 1"));
        }
        let mut this =
            Self { u: None, v: None, mode: Mode::Train, n_power_iterations, dim, eps, right_first };
        if weight.dim() > 1 {
            let matrix = this.matrix(weight)?;
            let vector = |length: usize| -> Result<Option<Buffer>> {
                let drawn = Tensor::randn([length], weight.dtype())?;
                Ok(Some(Buffer::new(&functional::normalize(&drawn, 2.0, 0, eps)?)))
            };
            this.u = vector(matrix.shape()[0])?;
            this.v = vector(matrix.shape()[1])?;
        }
        Ok(this)
    }

    fn matrix(&self, weight: &Tensor) -> Result<Tensor> {
        weight.movedim(self.dim as isize, 0)?.flatten(1, -1)
    }

    fn improve(&self, matrix: &Tensor, times: usize) -> Result<()> {
        let (Some(u), Some(v)) = (&self.u, &self.v) else { return Ok(()) };
        no_grad(|| {
            let matrix = matrix.detach();
            let left = || u.copy_(&functional::normalize(&matrix.mv(v)?, 2.0, 0, self.eps)?);
            let right = || v.copy_(&functional::normalize(&matrix.t()?.mv(u)?, 2.0, 0, self.eps)?);
            for _ in 0..times {
                if self.right_first {
                    right().and_then(|()| left())?;
                } else {
                    left().and_then(|()| right())?;
                }
            }
            Ok(())
        })
    }
}

impl Parametrization for SpectralNorm {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        let [weight] = original else {
            return Err(Error::argument(format!("needs one tensor, found {}", original.len())));
        };
        let (Some(u), Some(v)) = (&self.u, &self.v) else {
            return functional::normalize(weight, 2.0, 0, self.eps);
        };
        let matrix = self.matrix(weight)?;
        if self.mode.is_train() {
            self.improve(&matrix, self.n_power_iterations)?;
        }
        // Copies: the next forward changes the vectors, and a gradient may still be wanted of this one.
        let (u, v) = (u.detach().copy()?, v.detach().copy()?);
        weight.div(&u.dot(&matrix.mv(&v)?)?)
    }
}

/// Divides the weights that a selector picks by their greatest singular value; PyTorch's
/// `parametrizations.spectral_norm`.
///
/// # Errors
///
/// As [`register_parametrization`](super::register_parametrization) and [`SpectralNorm::new`].
///
/// ```
/// use sconce::nn::{Linear, parametrize};
/// let mut layer = Linear::new(4, 3)?;
/// parametrize::spectral_norm(&mut layer, "weight", Default::default())?;
/// let greatest = layer.weight.value()?.svdvals()?.to_vec::<f32>()?[0];
/// assert!((greatest - 1.0).abs() < 0.1, "{greatest}");
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn spectral_norm<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    config: SpectralNormConfig,
) -> Result<Vec<String>> {
    register(module.as_module_mut(), "spectral_norm", selector, Keys::Parametrizations, &mut |weight| {
        Ok(Box::new(SpectralNorm::new(weight, &config)?))
    })
}

/// As [`spectral_norm`], under the keys of PyTorch's older `nn.utils.spectral_norm`: `weight_orig`, `weight_u` and
/// `weight_v`; the vectors are not improved beforehand.
///
/// # Errors
///
/// As [`spectral_norm`].
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, parametrize};
/// let mut layer = Linear::new(4, 3)?;
/// parametrize::spectral_norm_legacy(&mut layer, "weight", Default::default())?;
/// let names: Vec<String> = layer.state_dict().names().map(str::to_owned).collect();
/// assert_eq!(names, ["bias", "weight_orig", "weight_u", "weight_v"]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn spectral_norm_legacy<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    config: SpectralNormConfig,
) -> Result<Vec<String>> {
    register(module.as_module_mut(), "spectral_norm", selector, Keys::Suffixes(&["_orig"]), &mut |weight| {
        Ok(Box::new(SpectralNorm::drawn(weight, &config, true)?))
    })
}
