//! Random strided views for the tests, and naive access to their elements.
#![allow(dead_code, unreachable_pub, clippy::undocumented_unsafe_blocks)]

use half::{bf16, f16};
use sconce_kernels::{Dst, Elem, Src};

pub const ELEMS: [Elem; 10] = [
    Elem::F64,
    Elem::F32,
    Elem::F16,
    Elem::BF16,
    Elem::I64,
    Elem::I32,
    Elem::I16,
    Elem::I8,
    Elem::U8,
    Elem::Bool,
];

/// Cases per property; fewer under Miri.
pub const CASES: usize = if cfg!(miri) { 12 } else { 400 };

pub struct Lcg(pub u64);

impl Lcg {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A multiple of 1/16 in -8..8, exact in every float type.
    pub fn value(&mut self) -> f64 {
        self.below(256) as f64 / 16.0 - 8.0
    }

    pub fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 31) as f64
    }
}

/// Memory with a strided view into it.
#[derive(Clone)]
pub struct View {
    pub memory: Vec<u64>,
    pub elem: Elem,
    pub offset: usize,
    pub strides: Vec<usize>,
}

impl View {
    /// A view of `shape`: permuted, with gaps and an offset, and if `broadcast` with some strides 0.
    pub fn random(rng: &mut Lcg, elem: Elem, shape: &[usize], broadcast: bool) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        match rng.below(3) {
            0 => {}
            1 => order.reverse(),
            _ => (1..order.len()).for_each(|i| order.swap(i, rng.below(i + 1))),
        }
        let mut strides = vec![0; shape.len()];
        let mut step = if rng.below(4) == 0 { 2 } else { 1 };
        for &d in order.iter().rev() {
            if broadcast && rng.below(4) == 0 {
                continue;
            }
            strides[d] = step;
            step *= shape[d].max(1);
            if rng.below(5) == 0 {
                step += 3;
            }
        }
        let offset = if rng.below(3) == 0 { rng.below(5) } else { 0 };
        let mut view =
            Self { memory: vec![0; (step + offset + 16) * elem.size() / 8 + 1], elem, offset, strides };
        for i in 0..view.memory.len() * 8 / elem.size() {
            let v = rng.value();
            view.put_flat(i, v);
        }
        view
    }

    pub fn src(&self) -> Src<'_> {
        Src {
            ptr: unsafe { self.memory.as_ptr().cast::<u8>().add(self.offset * self.elem.size()) },
            elem: self.elem,
            strides: &self.strides,
        }
    }

    pub fn dst(&mut self) -> Dst<'_> {
        Dst {
            ptr: unsafe { self.memory.as_mut_ptr().cast::<u8>().add(self.offset * self.elem.size()) },
            elem: self.elem,
            strides: &self.strides,
        }
    }

    pub fn flat(&self, index: &[usize]) -> usize {
        self.offset + index.iter().zip(&self.strides).map(|(i, s)| i * s).sum::<usize>()
    }

    pub fn get(&self, index: &[usize]) -> f64 {
        let i = self.flat(index);
        let p = self.memory.as_ptr();
        unsafe {
            match self.elem {
                Elem::F64 => p.cast::<f64>().add(i).read(),
                Elem::F32 => p.cast::<f32>().add(i).read() as f64,
                Elem::F16 => p.cast::<f16>().add(i).read().to_f64(),
                Elem::BF16 => p.cast::<bf16>().add(i).read().to_f64(),
                Elem::I64 => p.cast::<i64>().add(i).read() as f64,
                Elem::I32 => p.cast::<i32>().add(i).read() as f64,
                Elem::I16 => p.cast::<i16>().add(i).read() as f64,
                Elem::I8 => p.cast::<i8>().add(i).read() as f64,
                Elem::U8 => p.cast::<u8>().add(i).read() as f64,
                Elem::Bool => p.cast::<u8>().add(i).read() as f64,
            }
        }
    }

    pub fn put_flat(&mut self, i: usize, v: f64) {
        let p = self.memory.as_mut_ptr();
        unsafe {
            match self.elem {
                Elem::F64 => p.cast::<f64>().add(i).write(v),
                Elem::F32 => p.cast::<f32>().add(i).write(v as f32),
                Elem::F16 => p.cast::<f16>().add(i).write(f16::from_f32(v as f32)),
                Elem::BF16 => p.cast::<bf16>().add(i).write(bf16::from_f32(v as f32)),
                Elem::I64 => p.cast::<i64>().add(i).write(v as i64),
                Elem::I32 => p.cast::<i32>().add(i).write(v as i64 as i32),
                Elem::I16 => p.cast::<i16>().add(i).write(v as i64 as i16),
                Elem::I8 => p.cast::<i8>().add(i).write(v as i64 as i8),
                Elem::U8 => p.cast::<u8>().add(i).write(v as i64 as u8),
                Elem::Bool => p.cast::<u8>().add(i).write((v != 0.0) as u8),
            }
        }
    }

    /// What a value becomes when stored in this view's element type.
    pub fn rounded(&self, v: f64) -> f64 {
        let mut one = Self { memory: vec![0], elem: self.elem, offset: 0, strides: vec![] };
        one.put_flat(0, v);
        one.get(&[])
    }
}

pub fn random_shape(rng: &mut Lcg) -> Vec<usize> {
    let rank = [0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 10][rng.below(11)];
    let most = if cfg!(miri) { 40 } else { 1 << 14 };
    let mut left = most;
    (0..rank)
        .map(|_| {
            let size = match rng.below(12) {
                0 => 1,
                1 if rng.below(4) == 0 => 0,
                2 => 1 + rng.below(if cfg!(miri) { 20 } else { 700 }),
                _ => 1 + rng.below(if rank > 5 { 3 } else { 9 }),
            };
            let size = if size > left.max(1) { 1 } else { size };
            left /= size.max(1);
            size
        })
        .collect()
}

pub fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &n in shape {
        all = all
            .iter()
            .flat_map(|i| (0..n).map(move |k| i.iter().copied().chain([k]).collect::<Vec<_>>()))
            .collect();
    }
    all
}
