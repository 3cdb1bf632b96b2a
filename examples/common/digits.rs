//! The UCI digits of `data/digits.csv.gz`, for the examples.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use sconce::Result;
use sconce::functional::{self, CrossEntropyOptions};
use sconce::prelude::*;

/// Rows trained on; the others are the test set.
pub(crate) const TRAIN: usize = 1437;
pub(crate) const BATCH: usize = 64;
/// Batches of an epoch.
pub(crate) const STEPS: usize = TRAIN / BATCH;

/// Images from 0 to 1, one per row, and their labels.
pub(crate) struct Digits {
    pub(crate) images: Tensor,
    pub(crate) labels: Tensor,
}

impl Digits {
    pub(crate) fn open() -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/digits.csv.gz");
        let mut text = String::new();
        GzDecoder::new(std::fs::File::open(path)?).read_to_string(&mut text)?;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let numbers = line.split(',').map(str::parse).collect::<std::result::Result<Vec<u8>, _>>()?;
            let (label, image) = numbers.split_last().ok_or("an empty line")?;
            pixels.extend(image.iter().map(|&p| f32::from(p) / 16.0));
            labels.push(i64::from(*label));
        }
        let rows = labels.len();
        Ok(Self { images: Tensor::from_vec(pixels, [rows, 64])?, labels: Tensor::from_vec(labels, [rows])? })
    }

    /// The same with images of one channel, `[rows, 1, 8, 8]`.
    pub(crate) fn square(self) -> Result<Self> {
        Ok(Self { images: self.images.reshape([-1, 1, 8, 8])?, ..self })
    }

    pub(crate) fn rows(&self, start: usize, count: usize) -> Result<(Tensor, Tensor)> {
        let start = start as isize;
        Ok((self.images.narrow(0, start, count)?, self.labels.narrow(0, start, count)?))
    }

    /// The batch of a step, epoch after epoch in the same order.
    pub(crate) fn batch(&self, step: usize) -> Result<(Tensor, Tensor)> {
        self.rows(step % STEPS * BATCH, BATCH)
    }

    pub(crate) fn test(&self) -> Result<(Tensor, Tensor)> {
        self.rows(TRAIN, self.labels.shape()[0] - TRAIN)
    }

    /// The share of the test set that a function from images to scores gets right, in percent.
    pub(crate) fn accuracy(&self, forward: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<f64> {
        accuracy(&self.test()?, forward)
    }
}

/// The share of labels that a function from images to scores gets right, in percent.
pub(crate) fn accuracy(
    (x, y): &(Tensor, Tensor),
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<f64> {
    no_grad(|| Ok(100.0 * forward(x)?.argmax(1)?.eq(y)?.to(DType::F32)?.mean(())?.item()?))
}

pub(crate) fn cross_entropy(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    functional::cross_entropy(scores, labels, CrossEntropyOptions::default())
}
