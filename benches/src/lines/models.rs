//! Training steps of whole networks against PyTorch: a convolutional one, a transformer and a recurrent one.

use sconce::functional::{
    AttentionOptions, CrossEntropyOptions, Gelu, cross_entropy, scaled_dot_product_attention,
};
use sconce::nn::{
    BatchNorm2d, Conv2d, Conv2dConfig, Embedding, LSTM, LayerNorm, Linear, LinearConfig, Padding,
    RecurrentConfig,
};
use sconce::optim::{AdamW, GradientWatch, Optimizer, Rule, Sgd, WatchRules};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target::{Floor, Torch};

#[derive(Module)]
struct Convolution {
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl Convolution {
    fn new(inner: usize, outer: usize, kernel: usize, stride: usize) -> Result<Self> {
        let config = Conv2dConfig {
            stride: [stride; 2],
            padding: Padding::Explicit([kernel / 2; 2]),
            bias: false,
            ..Default::default()
        };
        Ok(Self { conv: config.build(inner, outer, kernel)?, norm: BatchNorm2d::new(outer)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward(&self.conv.forward(x)?)
    }
}

#[derive(Module)]
struct Residual {
    first: Convolution,
    second: Convolution,
    shortcut: Option<Convolution>,
}

impl Residual {
    fn new(inner: usize, outer: usize, stride: usize) -> Result<Self> {
        let changes = stride != 1 || inner != outer;
        Ok(Self {
            first: Convolution::new(inner, outer, 3, stride)?,
            second: Convolution::new(outer, outer, 3, 1)?,
            shortcut: if changes { Some(Convolution::new(inner, outer, 1, stride)?) } else { None },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.second.forward(&self.first.forward(x)?.relu()?)?;
        match &self.shortcut {
            Some(shortcut) => y.add(&shortcut.forward(x)?)?.relu(),
            None => y.add(x)?.relu(),
        }
    }
}

/// ResNet-18 for images of 32 x 32.
#[derive(Module)]
struct ResNet {
    stem: Convolution,
    blocks: Vec<Residual>,
    head: Linear,
}

impl ResNet {
    fn new() -> Result<Self> {
        let blocks = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)].into_iter();
        let blocks = blocks.flat_map(|(inner, outer, stride)| [(inner, outer, stride), (outer, outer, 1)]);
        Ok(Self {
            stem: Convolution::new(3, 64, 3, 1)?,
            blocks: blocks.map(|(i, o, s)| Residual::new(i, o, s)).collect::<Result<_>>()?,
            head: Linear::new(512, 10)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.stem.forward(x)?.relu()?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&x.mean([2, 3])?)
    }
}

#[derive(Module)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

impl Block {
    fn new() -> Result<Self> {
        Ok(Self {
            norm1: LayerNorm::new([WIDTH])?,
            qkv: Linear::new(WIDTH, 3 * WIDTH)?,
            out: Linear::new(WIDTH, WIDTH)?,
            norm2: LayerNorm::new([WIDTH])?,
            wide: Linear::new(WIDTH, 4 * WIDTH)?,
            narrow: Linear::new(4 * WIDTH, WIDTH)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, length) = (x.shape()[0] as isize, x.shape()[1] as isize);
        let heads = |t: &Tensor| t.view([batch, length, 6, WIDTH as isize / 6])?.transpose(1, 2);
        let parts = self.qkv.forward(&self.norm1.forward(x)?)?.split(WIDTH, 2)?;
        let (q, k, v) = (heads(&parts[0])?, heads(&parts[1])?, heads(&parts[2])?);
        let causal = AttentionOptions { is_causal: true, ..Default::default() };
        let y = scaled_dot_product_attention(&q, &k, &v, causal)?;
        let y = y.transpose(1, 2)?.reshape([batch, length, WIDTH as isize])?;
        let x = x.add(&self.out.forward(&y)?)?;
        let wide = self.wide.forward(&self.norm2.forward(&x)?)?.gelu(Gelu::Exact)?;
        x.add(&self.narrow.forward(&wide)?)
    }
}

const WIDTH: usize = 384;

/// A transformer over 65 characters and 256 places.
#[derive(Module)]
struct Gpt {
    tokens: Embedding,
    places: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    fn new() -> Result<Self> {
        Ok(Self {
            tokens: Embedding::new(65, WIDTH)?,
            places: Embedding::new(256, WIDTH)?,
            blocks: (0..6).map(|_| Block::new()).collect::<Result<_>>()?,
            norm: LayerNorm::new([WIDTH])?,
            head: LinearConfig { bias: false, ..Default::default() }.build(WIDTH, 65)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let places = Tensor::arange(0, x.shape()[1] as i64, 1, DType::I64)?;
        let mut x = self.tokens.forward(x)?.add(&self.places.forward(&places)?)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.norm.forward(&x)?)?.view([-1, 65])
    }
}

#[derive(Module)]
struct Recurrent {
    lstm: LSTM,
    head: Linear,
}

impl Recurrent {
    fn new() -> Result<Self> {
        let config = RecurrentConfig { num_layers: 2, batch_first: true, ..Default::default() };
        Ok(Self { lstm: LSTM::with(128, 256, config)?, head: Linear::new(256, 10)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.lstm.forward(x, None)?.0.select(1, -1)?)
    }
}

/// A training step, without clearing the gradients afterwards.
fn step<M: Module + 'static, R: Rule + 'static>(
    model: M,
    rule: R,
    forward: fn(&M, &Tensor) -> Result<Tensor>,
    x: Tensor,
    target: Tensor,
) -> Result<Call> {
    let mut optimizer = Optimizer::new(&model, rule)?;
    Ok(Box::new(move || {
        optimizer.zero_grad();
        cross_entropy(&forward(&model, &x)?, &target, CrossEntropyOptions::default())?.backward()?;
        optimizer.step()
    }))
}

fn momentum() -> Sgd {
    Sgd { lr: 0.01, momentum: 0.9, weight_decay: 5e-4, ..Default::default() }
}

fn images() -> Result<(Tensor, Tensor)> {
    Ok((Tensor::randn([32, 3, 32, 32], DType::F32)?, Tensor::randint(0, 10, [32], DType::I64)?))
}

fn resnet(_: &Options) -> Result<Call> {
    manual_seed(0);
    let (x, target) = images()?;
    step(ResNet::new()?, momentum(), ResNet::forward, x, target)
}

fn gpt(_: &Options) -> Result<Call> {
    manual_seed(0);
    let rule = AdamW { betas: (0.9, 0.95), weight_decay: 0.1, ..Default::default() };
    let x = Tensor::randint(0, 65, [8, 256], DType::I64)?;
    let target = Tensor::randint(0, 65, [8 * 256], DType::I64)?;
    step(Gpt::new()?, rule, Gpt::forward, x, target)
}

fn lstm(_: &Options) -> Result<Call> {
    manual_seed(0);
    let (x, target) = (Tensor::randn([32, 64, 128], DType::F32)?, Tensor::randint(0, 10, [32], DType::I64)?);
    step(Recurrent::new()?, Sgd { lr: 0.01, ..Default::default() }, Recurrent::forward, x, target)
}

/// One look at the gradients of ResNet-18.
fn watch(_: &Options) -> Result<Call> {
    manual_seed(0);
    let model = ResNet::new()?;
    let (x, target) = images()?;
    cross_entropy(&model.forward(&x)?, &target, CrossEntropyOptions::default())?.backward()?;
    let mut watch = GradientWatch::new(WatchRules::default());
    Ok(Box::new(move || watch.observe(&model).map(drop)))
}

pub(super) fn lines() -> Vec<Line> {
    vec![
        Line::new("training step, ResNet-18", resnet).torch().target(Torch(1.0)),
        Line::new("training step, GPT", gpt).torch().target(Torch(1.0)),
        Line::new("training step, LSTM", lstm).torch().target(Torch(1.0)),
        // The floor is what it may cost: three hundredths of a step.
        Line::new("gradient watch of ResNet-18", watch).floor(resnet, 0.03).target(Floor(1.0)),
    ]
}
