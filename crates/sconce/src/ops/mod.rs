//! Operations: each with its method, forward, derivative and samples in one place.
//!
//! What `torch` or its `linalg`, `fft` and `special` have is in this folder, mostly methods of [`Tensor`](crate::Tensor);
//! what only `torch.nn.functional` has is in the folder `nn`, mostly functions. Activations are formulas and stand with
//! those, in tables of rows.
//!
//! Where results differ from those of PyTorch 2.13 on a CPU, and why:
//!
//! | operation | difference | reason |
//! |---|---|---|
//! | `matrix_exp` of half types | the exponential, where PyTorch returns NaN or garbage | a fault there |
//! | gradient of `hardtanh`, `relu6`, `hardshrink`, `softshrink`, `elu`, `celu`, `selu`, `hardswish` at NaN | passes | there it passes in the last elements of a loop only; in its vectors (of 16 float32 with AVX2) it is 0, and of the last four NaN |
//! | gradient of `as_strided_scatter` for the tensor written into, if it has gaps | that of its own elements | there the tensor is taken for one without gaps |
//! | complex numbers | Fourier transforms, parts and whole only | every other operation refuses them by name |
//! | complex128 transforms | last digits | another order of sums |
//! | unstable sorts and quantiles of more than 16 elements, among equal ones | the first stays first, and gets the gradient | there it depends on the processor's vectors |
//! | gradient of nearest interpolation in three dimensions by a factor, along one that stays or doubles | that of the result | there it is that of another rule, unless the layout is channels last |
//! | antialiased interpolation to a width of 1 | all rows | there the first row repeats, unless the layout is channels last |
//! | `pow` by the number −0.5, of −0 and −∞ | ∞ and 0, as of a tensor of exponents | there −∞ and NaN |
//! | gradient of `xlogy` by the number NaN, at 0 | NaN, as of a tensor | there 0 |
//! | gradient of singular values of a matrix that is neither 0 nor of full rank | with other vectors of the values 0 | there it depends on the vectors that LAPACK takes |
//! | `nanmean` of nothing but NaN | the gradient 0 | there it is NaN |
//! | uint8 images interpolated | rounded once | there weights are rounded first |
//! | gradients of half types that overflow or cancel on the way (`pow`, `soft_margin_loss`, `normalize`, `asinh`, `acosh`, `atanh`, `sinc`) | those of float32 | rounded once, there at each step: 0, NaN or few digits |
//! | gradient of `logit` of half types at −0 | −∞, as in float32 | there ∞ |
//! | gradient of `batch_norm` of half types, of an input with its channels last | that of the formula | there another one, for some strides of the input and of the result's gradient |
//! | in-place changes of the parts of `chunk`, `split` and `unbind` while recording | recorded, as of `narrow` | there an error |

pub(crate) mod activation;
mod arith;
mod axes;
pub(crate) mod binary;
pub(crate) mod compare;
mod complex;
pub(crate) mod copy;
mod create;
pub(crate) mod driver;
mod embed;
mod forms;
mod fourier;
mod gamma;
mod histogram;
pub(crate) mod index;
mod join;
mod linalg;
pub(crate) mod matmul;
pub(crate) mod moments;
mod names;
pub(crate) mod nn;
mod operators;
mod order;
mod parts;
mod power;
mod products;
pub(crate) mod real;
mod rearrange;
pub(crate) mod reduce;
pub mod registry;
mod scan;
mod selection;
pub(crate) mod softmax;
mod special;
mod stacks;
mod statistics;
pub(crate) mod unary;
mod unique;
pub(crate) mod view;
mod view_in_place;

pub use fourier::FftNorm;
pub use index::{Index, Key, Reduce};
pub use linalg::{LeastSquares, LstsqDriver, MatrixNorm};
pub use order::Interpolation;
pub use stacks::{Sections, broadcast_shapes};
pub use unique::Unique;

/// Whether an operation makes each element of its output of one element of its only input.
pub(crate) fn is_elementwise(name: &str) -> bool {
    let lists = [unary::UNARY, activation::ACTIVATIONS, special::SPECIAL];
    matches!(name, "copy" | "to") || lists.into_iter().flatten().any(|op| op.name == name)
}

/// Whether an operation makes each element of its output of one element of each of its two inputs.
pub(crate) fn is_elementwise_of_two(name: &str) -> bool {
    [binary::BINARY, special::BINARY_SPECIAL].into_iter().flatten().any(|op| op.name == name)
}

/// All operations with samples, by file.
pub static OPS: &[&[registry::OpInfo]] = &[
    unary::UNARY,
    activation::ACTIVATIONS,
    special::SPECIAL,
    binary::BINARY,
    power::POWERS,
    special::BINARY_SPECIAL,
    arith::ARITHMETIC,
    view::VIEWS,
    copy::COPIES,
    reduce::REDUCTIONS,
    moments::MOMENTS,
    matmul::PRODUCTS,
    products::CONTRACTIONS,
    linalg::SOLVERS,
    linalg::FACTORS,
    linalg::LEAST_SQUARES,
    linalg::TRIANGULAR,
    linalg::CHOLESKY,
    linalg::SPECTRA,
    linalg::NORMS,
    linalg::POWERS,
    index::GATHERS,
    index::SLICES,
    index::MASKS,
    index::EMBEDDINGS,
    join::JOINS,
    rearrange::REARRANGEMENTS,
    scan::SCANS,
    stacks::STACKS,
    order::ORDERS,
    histogram::HISTOGRAMS,
    statistics::STATISTICS,
    parts::PARTS,
    gamma::GAMMAS,
    embed::EMBEDS,
    index::KEYS,
    index::PLACES,
    index::INDEX_REDUCTIONS,
    softmax::SOFTMAXES,
    complex::COMPLEX,
    fourier::TRANSFORMS,
    nn::adaptive::ADAPTIVE,
    nn::attention::ATTENTION,
    nn::bag::BAGS,
    nn::conv::CONVOLUTIONS,
    nn::conv2d::CONVOLUTIONS,
    nn::ctc::CTC,
    nn::distance::DISTANCES,
    nn::dropout::DROPOUTS,
    nn::grid::GRIDS,
    nn::instance_norm::NORMS,
    nn::loss::LOSSES,
    nn::lstm::LSTMS,
    nn::margin::MARGINS,
    nn::norm::NORMALISATIONS,
    nn::pad::PADS,
    nn::pool::POOLS,
    nn::pool2d::POOLS,
    nn::resize::RESIZES,
    nn::shuffle::SHUFFLES,
    nn::unpool::UNPOOLS,
];
