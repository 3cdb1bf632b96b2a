//! A softmax over many classes, of which the rare ones cost less: Grave et al., "Efficient softmax approximation for GPUs".

use super::layer::Layer;
use super::linear::{Linear, LinearConfig};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// The log-probabilities of targets among many classes, in clusters from frequent to rare; PyTorch's
/// `AdaptiveLogSoftmaxWithLoss`.
///
/// Classes are numbered by falling frequency. The head has the classes before the first cutoff and one entry for each
/// cluster; a cluster's classes have features that were projected to fewer.
///
/// ```
/// use sconce::nn::{AdaptiveLogSoftmaxConfig, AdaptiveLogSoftmaxWithLoss};
/// use sconce::{DType, Tensor};
///
/// let softmax = AdaptiveLogSoftmaxWithLoss::new(8, 20, &[5, 10])?;
/// let (x, target) = (Tensor::randn([3, 8], DType::F32)?, Tensor::from_vec(vec![0i64, 7, 19], [3])?);
/// let (log_probabilities, loss) = softmax.forward(&x, &target)?;
/// assert_eq!(log_probabilities.shape(), [3]);
/// assert!((loss.item()? + log_probabilities.mean(())?.item()?).abs() < 1e-6);
///
/// let all = softmax.log_prob(&x)?;
/// assert!(all.exp()?.sum(1)?.to_vec::<f32>()?.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
/// assert_eq!(softmax.predict(&x)?.to_vec::<i64>()?, all.argmax(1)?.to_vec::<i64>()?);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct AdaptiveLogSoftmaxWithLoss {
    /// The frequent classes and the clusters.
    pub head: Linear,
    /// Of each cluster, the projection and what makes its classes of that.
    pub tail: Vec<(Linear, Linear)>,
    in_features: usize,
    n_classes: usize,
    /// Where the clusters begin.
    cutoffs: Vec<usize>,
    div_value: f64,
}

/// The options of an [`AdaptiveLogSoftmaxWithLoss`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveLogSoftmaxConfig {
    /// How many times fewer features each cluster has than the one before; 4.
    pub div_value: f64,
    /// Whether the head has a bias; false.
    pub head_bias: bool,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for AdaptiveLogSoftmaxConfig {
    fn default() -> Self {
        Self { div_value: 4.0, head_bias: false, dtype: DType::F32 }
    }
}

impl AdaptiveLogSoftmaxWithLoss {
    /// Makes a layer with PyTorch's defaults; clusters begin at the cutoffs.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(in_features: usize, n_classes: usize, cutoffs: &[usize]) -> Result<Self> {
        Self::with(in_features, n_classes, cutoffs, AdaptiveLogSoftmaxConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If there is no cutoff, or they do not rise from at least 1 to at most `n_classes` − 1; if the dtype is not
    /// floating point.
    pub fn with(
        in_features: usize,
        n_classes: usize,
        cutoffs: &[usize],
        config: AdaptiveLogSoftmaxConfig,
    ) -> Result<Self> {
        let AdaptiveLogSoftmaxConfig { div_value, head_bias, dtype } = config;
        let rising = cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = |c: &usize| (1..n_classes).contains(c);
        if cutoffs.is_empty() || !rising || !cutoffs.iter().all(inside) {
            return Err(Error::argument(format!(
                "AdaptiveLogSoftmaxWithLoss: expected cutoffs that rise from at least 1 to at most {}, found {cutoffs:?}",
                n_classes.saturating_sub(1)
            )));
        }
        let linear = |from, to, bias| LinearConfig { bias, dtype }.build(from, to);
        let head = linear(in_features, cutoffs[0] + cutoffs.len(), head_bias)?;
        let ends = cutoffs[1..].iter().copied().chain([n_classes]);
        let tail = cutoffs.iter().zip(ends).enumerate().map(|(i, (start, end))| {
            let features = (in_features as f64 / div_value.powi(i as i32 + 1)).floor() as usize;
            Ok((linear(in_features, features, false)?, linear(features, end - start, false)?))
        });
        let tail = tail.collect::<Result<_>>()?;
        Ok(Self { head, tail, in_features, n_classes, cutoffs: cutoffs.to_vec(), div_value })
    }

    /// The log-probability of each target, `[batch]`, and the loss: their mean, negated. Without a batch, the target is
    /// a number and the input a vector.
    ///
    /// # Errors
    ///
    /// If input and target do not fit each other or the layer, or a target is no class.
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
        let batched = target.dim() == 1;
        let fits = match (input.shape(), target.shape()) {
            (&[batch, features], &[targets]) => batch == targets && features == self.in_features,
            (&[features], &[]) => features == self.in_features,
            _ => false,
        };
        if !fits {
            return Err(Error::shape(format!(
                "AdaptiveLogSoftmaxWithLoss: input {:?} and target {:?} do not fit each other and {} features",
                input.shape(),
                target.shape(),
                self.in_features
            )));
        }
        let input = if batched { input.clone() } else { input.unsqueeze(0)? };
        let target = if batched { target.detach() } else { target.detach().unsqueeze(0)? };
        let classes = target.to(DType::I64)?.to_vec::<i64>()?;
        if let Some(class) = classes.iter().find(|c| !(0..self.n_classes as i64).contains(*c)) {
            return Err(Error::index(format!(
                "AdaptiveLogSoftmaxWithLoss: target {class} is none of {} classes",
                self.n_classes
            )));
        }
        let first = self.cutoffs[0];
        let cluster = |class: i64| self.cutoffs.iter().filter(|start| **start as i64 <= class).count();
        let entries: Vec<i64> = classes
            .iter()
            .map(|&class| match cluster(class) {
                0 => class,
                n => (first + n - 1) as i64,
            })
            .collect();
        let gathered = |scores: Tensor, at: Vec<i64>| {
            let count = at.len();
            scores.log_softmax(1)?.gather(1, &Tensor::from_vec(at, [count, 1])?)?.squeeze(1)
        };
        let mut output = gathered(self.head.forward(&input)?, entries)?;
        for (i, (projection, last)) in self.tail.iter().enumerate() {
            let rows: Vec<i64> =
                (0..classes.len()).filter(|&r| cluster(classes[r]) == i + 1).map(|r| r as i64).collect();
            if rows.is_empty() {
                continue;
            }
            let within = rows.iter().map(|&r| classes[r as usize] - self.cutoffs[i] as i64).collect();
            let count = rows.len();
            let rows = Tensor::from_vec(rows, [count])?;
            let features = projection.forward(&input.index_select(0, &rows)?)?;
            output = output.index_add(0, &rows, &gathered(last.forward(&features)?, within)?)?;
        }
        let loss = output.mean(())?.neg()?;
        Ok((if batched { output } else { output.squeeze(0)? }, loss))
    }

    /// The log-probabilities of all classes, `[batch, n_classes]`.
    ///
    /// # Errors
    ///
    /// If the input does not fit the layer.
    pub fn log_prob(&self, input: &Tensor) -> Result<Tensor> {
        let head = self.head.forward(input)?.log_softmax(1)?;
        let first = self.cutoffs[0];
        let mut parts = vec![head.narrow(1, 0, first)?];
        for (i, (projection, last)) in self.tail.iter().enumerate() {
            let within = last.forward(&projection.forward(input)?)?.log_softmax(1)?;
            parts.push(within.add(&head.narrow(1, (first + i) as isize, 1)?)?);
        }
        Tensor::cat(&parts, 1)
    }

    /// The most probable class of each row, as int64.
    ///
    /// # Errors
    ///
    /// As [`log_prob`](Self::log_prob).
    pub fn predict(&self, input: &Tensor) -> Result<Tensor> {
        self.log_prob(&input.detach())?.argmax(1)
    }
}
