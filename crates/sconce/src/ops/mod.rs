//! Operations: each with its method, forward, derivative and samples in one place.
//!
//! Where results differ from those of PyTorch 2.13 on a CPU, and why:
//!
//! | operation | difference | reason |
//! |---|---|---|
//! | `matrix_exp` of half types | the exponential, where PyTorch returns NaN or garbage | a fault there |
//! | gradient of `hardtanh`, `relu6`, `hardshrink`, `softshrink`, `celu` at NaN | passes | there it passes in the last elements of a loop and is 0 (`celu`: NaN) in its vectors |
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
//! | gradients of half types that overflow on the way (`pow`, `soft_margin_loss`, `normalize`) | finite | computed in float32 |

pub(crate) mod activation;
mod arith;
mod axes;
pub(crate) mod binary;
pub(crate) mod compare;
mod complex;
pub(crate) mod conv;
pub(crate) mod copy;
mod create;
pub(crate) mod driver;
mod embed;
mod forms;
mod fourier;
mod gamma;
mod histogram;
pub(crate) mod index;
mod integer_windows;
mod join;
mod linalg;
pub(crate) mod loss;
pub(crate) mod matmul;
pub(crate) mod moments;
mod names;
pub(crate) mod nn;
pub(crate) mod norm;
mod operators;
mod order;
mod parts;
pub(crate) mod pool;
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
    loss::LOSSES,
    complex::COMPLEX,
    fourier::TRANSFORMS,
    conv::CONVOLUTIONS,
    pool::POOLS,
    norm::NORMALISATIONS,
    nn::adaptive::ADAPTIVE,
    nn::attention::ATTENTION,
    nn::bag::BAGS,
    nn::conv::CONVOLUTIONS,
    nn::ctc::CTC,
    nn::distance::DISTANCES,
    nn::dropout::DROPOUTS,
    nn::grid::GRIDS,
    nn::lstm::LSTMS,
    nn::margin::MARGINS,
    nn::norm::NORMS,
    nn::pad::PADS,
    nn::pool::POOLS,
    nn::resize::RESIZES,
    nn::shuffle::SHUFFLES,
    nn::unpool::UNPOOLS,
];
