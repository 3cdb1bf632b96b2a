//! How far results are from exact ones, beside what `tests/oracle/make_accuracy.py` recorded of PyTorch 2.13: sums are
//! pairwise or wider, and half precision accumulates in float32.

use std::collections::HashMap;

use sconce::functional::layer_norm;
use sconce::{DType, Result, Tensor};

fn dtype(name: &str) -> DType {
    DType::from_name(name).unwrap_or_else(|| panic!("{name}"))
}

/// As `numbers` of the script.
fn numbers(shape: &[usize], seed: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let fraction = |i: usize| {
        let x = (i as f64 + seed) * 0.618_033_988_749_894_9;
        x - x.floor()
    };
    Tensor::from_vec((1..=n).map(fraction).collect(), shape).unwrap()
}

type Case = (&'static str, &'static [&'static [usize]], fn(f64) -> f64, fn(&[Tensor]) -> Result<Tensor>);

const FLAT: &[&[usize]] = &[&[1 << 20]];
const ROWS: &[&[usize]] = &[&[64, 4097]];
const COLUMNS: &[&[usize]] = &[&[4097, 64]];
const MATRICES: &[&[usize]] = &[&[33, 4097], &[4097, 17]];

fn plain(x: f64) -> f64 {
    x
}

fn both_signs(x: f64) -> f64 {
    x * 2.0 - 1.0
}

/// As `CASES` of the script.
const CASES: &[Case] = &[
    ("sum", FLAT, plain, |x| x[0].sum(())),
    ("sum_rows", ROWS, plain, |x| x[0].sum(1)),
    ("sum_columns", COLUMNS, plain, |x| x[0].sum(0)),
    ("mean", FLAT, both_signs, |x| x[0].mean(())),
    ("mean_columns", COLUMNS, plain, |x| x[0].mean(0)),
    ("var", ROWS, both_signs, |x| x[0].var(1, 1.0)),
    ("var_columns", COLUMNS, plain, |x| x[0].var(0, 1.0)),
    ("var_far_from_zero", ROWS, |x| x + 64.0, |x| x[0].var(1, 1.0)),
    ("std", FLAT, both_signs, |x| x[0].std((), 1.0)),
    ("norm", FLAT, both_signs, |x| x[0].norm(2.0, ())),
    ("norm_rows", ROWS, both_signs, |x| x[0].norm(2.0, 1)),
    ("prod", &[&[64, 257]], |x| x / 64.0 + 1.0, |x| x[0].prod(1)),
    ("cumsum", &[&[8, 4097]], plain, |x| x[0].cumsum(1)),
    ("logsumexp", ROWS, both_signs, |x| x[0].logsumexp(1)),
    ("softmax", ROWS, |x| x * 8.0, |x| x[0].softmax(1)),
    ("log_softmax", ROWS, |x| x * 8.0, |x| x[0].log_softmax(1)),
    ("layer_norm", ROWS, |x| x + 3.0, |x| layer_norm(&x[0], &[4097], None, None, 1e-5)),
    ("matmul", MATRICES, both_signs, |x| x[0].matmul(&x[1])),
    ("matmul_positive", MATRICES, plain, |x| x[0].matmul(&x[1])),
    ("matrix_vector", &[&[64, 4097], &[4097]], plain, |x| x[0].matmul(&x[1])),
    ("batched", &[&[3, 9, 1025], &[3, 1025, 7]], plain, |x| x[0].matmul(&x[1])),
];

/// The distance between 1 and the next number of a dtype.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::EPSILON),
        DType::F16 => f64::from(half::f16::EPSILON),
        _ => f64::from(half::bf16::EPSILON),
    }
}

#[test]
fn results_are_as_accurate_as_pytorchs() {
    let recorded: HashMap<(&str, DType), f64> = include_str!("data/accuracy.txt")
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            ((words[0], dtype(words[1])), words[2].parse().unwrap())
        })
        .collect();
    let mut worse = Vec::new();
    let mut compared = 0;
    for (name, shapes, scale, f) in CASES {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let Some(&theirs) = recorded.get(&(*name, dtype)) else { continue };
            compared += 1;
            let inputs: Vec<Tensor> = shapes
                .iter()
                .enumerate()
                .map(|(i, shape)| {
                    let x: Vec<f64> = numbers(shape, 1000.0 * i as f64).into_vec().unwrap();
                    let x = x.into_iter().map(scale).collect();
                    Tensor::from_vec(x, *shape).unwrap().to(dtype).unwrap()
                })
                .collect();
            let doubles: Vec<Tensor> = inputs.iter().map(|x| x.to(DType::F64).unwrap()).collect();
            let exact: Vec<f64> = f(&doubles).unwrap().into_vec().unwrap();
            let found: Vec<f64> = f(&inputs).unwrap().to(DType::F64).unwrap().into_vec().unwrap();
            let most = exact.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let squares: f64 = exact.iter().zip(&found).map(|(a, b)| (a - b) * (a - b)).sum();
            let error = (squares / exact.len() as f64).sqrt() / most;
            // What chance does between two ways that are as good, and what rounding an exact result to the dtype costs.
            if error > (theirs * 1.1).max(epsilon(dtype) * 0.29) {
                worse.push(format!("{name} of {dtype}: {error:.3e}, PyTorch's is {theirs:.3e}"));
            }
        }
    }
    assert_eq!(compared, recorded.len());
    assert!(worse.is_empty(), "{worse:#?}");
}
