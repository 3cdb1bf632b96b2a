//! The list of all operations with samples, which the generic tests run.

use crate::Result;
use crate::tensor::Tensor;

/// An operation as the generic tests see it.
pub struct OpInfo {
    /// PyTorch's name.
    pub name: &'static str,
    /// Ways to call it.
    pub samples: fn() -> Vec<Sample>,
}

/// A call with a list of inputs.
pub type Call<R> = Box<dyn Fn(&[Tensor]) -> Result<R>>;

/// One way to call an operation.
pub struct Sample {
    /// Shapes of the inputs that gradients flow to, and the range that their values are drawn from.
    pub inputs: Vec<(Vec<usize>, (f64, f64))>,
    /// The call.
    pub call: Call<Tensor>,
    /// The in-place form on the first input, if there is one.
    pub inplace: Option<Call<()>>,
    /// Whether a gradient flows.
    pub differentiable: bool,
}

impl Sample {
    /// A call with inputs of these shapes and values.
    pub fn new(
        inputs: &[(&[usize], (f64, f64))],
        call: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
    ) -> Self {
        Self {
            inputs: inputs.iter().map(|(shape, domain)| (shape.to_vec(), *domain)).collect(),
            call: Box::new(call),
            inplace: None,
            differentiable: true,
        }
    }

    /// The same with an in-place form.
    #[must_use]
    pub fn with_inplace(mut self, inplace: impl Fn(&[Tensor]) -> Result<()> + 'static) -> Self {
        self.inplace = Some(Box::new(inplace));
        self
    }

    /// The same for an operation without a derivative.
    #[must_use]
    pub fn without_gradient(mut self) -> Self {
        self.differentiable = false;
        self
    }

    pub(crate) fn unary(
        domain: (f64, f64),
        call: fn(&Tensor) -> Result<Tensor>,
        inplace: fn(&Tensor) -> Result<()>,
    ) -> Self {
        Self::new(&[(&[2, 3, 4], domain)], move |x| call(&x[0])).with_inplace(move |x| inplace(&x[0]))
    }

    pub(crate) fn binary(
        domain: (f64, f64),
        call: fn(&Tensor, &Tensor) -> Result<Tensor>,
        inplace: fn(&Tensor, &Tensor) -> Result<()>,
    ) -> Self {
        Self::new(&[(&[2, 3, 4], domain), (&[3, 1], domain)], move |x| call(&x[0], &x[1]))
            .with_inplace(move |x| inplace(&x[0], &x[1]))
    }
}
