//! Random programs on random views beside a naive interpreter, and the same numbers whatever the number of threads.

use std::cell::RefCell;
use std::rc::Rc;

use sconce::functional::{
    Conv2dOptions, MaxPool2dOptions, conv2d, cross_entropy, embedding, layer_norm, max_pool2d,
    scaled_dot_product_attention,
};
use sconce::{DType, Index, Result, Tensor, keepdim};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A tensor as a list of places in shared memory: every operation is a loop over indices.
#[derive(Clone)]
struct Naive {
    shape: Vec<usize>,
    memory: Rc<RefCell<Vec<f64>>>,
    places: Vec<usize>,
}

/// All indices of a shape, in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |all, &n| {
        all.iter().flat_map(|index| (0..n).map(|i| index.iter().copied().chain([i]).collect())).collect()
    })
}

impl Naive {
    fn new(shape: &[usize], values: Vec<f64>) -> Self {
        let places = (0..values.len()).collect();
        Self { shape: shape.to_vec(), memory: Rc::new(RefCell::new(values)), places }
    }

    fn at(&self, index: &[usize]) -> usize {
        let flat = index.iter().zip(&self.shape).fold(0, |flat, (i, n)| flat * n + i);
        self.places[flat]
    }

    fn values(&self) -> Vec<f64> {
        let memory = self.memory.borrow();
        self.places.iter().map(|&i| memory[i]).collect()
    }

    /// A view of another shape whose indices are found by `from` in this one.
    fn view(&self, shape: &[usize], from: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        let places = indices(shape).iter().map(|index| self.at(&from(index))).collect();
        Self { shape: shape.to_vec(), memory: self.memory.clone(), places }
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.values().into_iter().map(f).collect())
    }

    /// Expanded to a shape.
    fn expanded(&self, shape: &[usize]) -> Self {
        let extra = shape.len() - self.shape.len();
        self.view(shape, |index| {
            index[extra..].iter().zip(&self.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect()
        })
    }

    fn zip(&self, other: &Self, shape: &[usize], f: impl Fn(f64, f64) -> f64) -> Self {
        let (x, y) = (self.expanded(shape).values(), other.expanded(shape).values());
        Self::new(shape, x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect())
    }

    /// Folds a dimension, which stays with size 1.
    fn fold(&self, dim: usize, start: f64, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut shape = self.shape.clone();
        shape[dim] = 1;
        let value = |index: &Vec<usize>| {
            (0..self.shape[dim]).fold(start, |sum, i| {
                let mut index = index.clone();
                index[dim] = i;
                f(sum, self.memory.borrow()[self.at(&index)])
            })
        };
        Self::new(&shape, indices(&shape).iter().map(value).collect())
    }

    fn overlaps_itself(&self) -> bool {
        let mut places = self.places.clone();
        places.sort_unstable();
        places.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Whether both have elements in common, but not all in the same order.
    fn overlaps_in_part(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.memory, &other.memory)
            && self.places != other.places
            && self.places.iter().any(|place| other.places.contains(place))
    }

    fn write(&self, values: &[f64]) {
        let mut memory = self.memory.borrow_mut();
        for (&place, &value) in self.places.iter().zip(values) {
            memory[place] = value;
        }
    }
}

/// The shape that two broadcast to.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d]);
    (0..rank)
        .map(|d| match (size(a, d), size(b, d)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

type Pair = (Tensor, Naive);

/// A random view of a tensor: its name, and the view of both.
fn random_view((x, n): &Pair, random: &mut Random) -> Result<Option<(String, Pair)>> {
    let rank = n.shape.len();
    let choice = random.below(9);
    if rank == 0 && choice < 7 {
        return Ok(None);
    }
    let d = random.below(rank.max(1));
    let size = n.shape.get(d).copied().unwrap_or(1);
    let mut shape = n.shape.clone();
    let dim = d as isize;
    let (name, view, naive) = match choice {
        0 => {
            let start = random.below(size + 1);
            shape[d] = random.below(size - start + 1);
            let view = x.narrow(dim, start as isize, shape[d])?;
            let naive = n.view(&shape, |i| with(i, d, i[d] + start));
            (format!("narrow({d}, {start}, {})", shape[d]), view, naive)
        }
        1 if size > 0 => {
            let i = random.below(size);
            shape.remove(d);
            (
                format!("select({d}, {i})"),
                x.select(dim, i as isize)?,
                n.view(&shape, |index| inserted(index, d, i)),
            )
        }
        2 => {
            let (start, step) = (random.below(size + 1), 1 + random.below(3));
            shape[d] = (size - start).div_ceil(step);
            let key = Index::Slice(Some(start as isize), None, step as isize);
            let key: Vec<Index> = (0..d).map(|_| Index::from(..)).chain([key]).collect();
            (
                format!("[{start}::{step}] of {d}"),
                x.get(key)?,
                n.view(&shape, |i| with(i, d, start + i[d] * step)),
            )
        }
        3 => {
            let other = random.below(rank);
            shape.swap(d, other);
            let naive = n.view(&shape, |i| {
                let mut i = i.to_vec();
                i.swap(d, other);
                i
            });
            (format!("transpose({d}, {other})"), x.transpose(dim, other as isize)?, naive)
        }
        4 if size == 1 => {
            shape[d] = 1 + random.below(4);
            (format!("expand({shape:?})"), x.expand(&shape[..])?, n.expanded(&shape))
        }
        5 if rank > 1 => {
            let other = (d + 1) % rank;
            let (a, b) = (d.min(other), d.max(other));
            let length = shape[a].min(shape[b]);
            shape.remove(b);
            shape.remove(a);
            shape.push(length);
            let naive = n.view(&shape, |i| {
                let (last, rest) = i.split_last().expect("the diagonal");
                inserted(&inserted(rest, a, *last), b, *last)
            });
            (format!("diagonal({a}, {b})"), x.diagonal(0, a as isize, b as isize)?, naive)
        }
        6 if size % 2 == 0 => {
            shape[d] = 2;
            shape.insert(d + 1, size / 2);
            let naive = n.view(&shape, |i| {
                let mut index = i.to_vec();
                let low = index.remove(d + 1);
                index[d] = index[d] * (size / 2) + low;
                index
            });
            (format!("unflatten({d}, [2, {}])", size / 2), x.unflatten(dim, [2, size / 2])?, naive)
        }
        7 => {
            shape.insert(d, 1);
            let naive = n.view(&shape, |i| {
                let mut i = i.to_vec();
                i.remove(d);
                i
            });
            (format!("unsqueeze({d})"), x.unsqueeze(dim)?, naive)
        }
        8 if x.is_contiguous() => {
            let flat = [n.places.len()];
            (
                "view(-1)".to_owned(),
                x.view([n.places.len()])?,
                Naive { shape: flat.to_vec(), memory: n.memory.clone(), places: n.places.clone() },
            )
        }
        _ => return Ok(None),
    };
    Ok(Some((name, (view, naive))))
}

fn with(index: &[usize], d: usize, i: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[d] = i;
    index
}

fn inserted(index: &[usize], d: usize, i: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index.insert(d, i);
    index
}

/// A random operation: its name and what it gives.
fn random_operation((x, n): &Pair, (y, m): &Pair, random: &mut Random) -> Result<Option<(String, Pair)>> {
    let rank = n.shape.len();
    let d = random.below(rank.max(1));
    let dim = d as isize;
    let both = broadcast(&n.shape, &m.shape);
    let choice = random.below(14);
    let (name, found, naive) = match (choice, both) {
        (0, Some(s)) => ("add", x.add(y)?, n.zip(m, &s, |x, y| x + y)),
        (1, Some(s)) => ("sub", x.sub(y)?, n.zip(m, &s, |x, y| x - y)),
        (2, Some(s)) => ("mul", x.mul(y)?, n.zip(m, &s, |x, y| x * y)),
        (3, Some(s)) => {
            let condition = x.gt(y)?;
            ("where", x.where_(&condition, y)?, n.zip(m, &s, |x, y| if x > y { x } else { y }))
        }
        (4, _) => ("add 3", x.add(3)?, n.map(|x| x + 3.0)),
        (5, _) => ("neg", x.neg()?, n.map(|x| -x)),
        (6, _) => ("abs", x.abs()?, n.map(f64::abs)),
        (7, _) if rank > 0 => ("sum", x.sum(keepdim(dim))?, n.fold(d, 0.0, |sum, x| sum + x)),
        (8, _) if rank > 0 && n.shape[d] > 0 => {
            let found = n.fold(d, f64::NEG_INFINITY, f64::max);
            ("amax", x.amax(keepdim(dim))?, found)
        }
        (9, _) if rank > 0 && n.shape == m.shape => {
            let mut shape = n.shape.clone();
            shape[d] *= 2;
            let values = indices(&shape).into_iter().map(|i| {
                let (from, i) =
                    if i[d] < n.shape[d] { (n, i.clone()) } else { (m, with(&i, d, i[d] - n.shape[d])) };
                from.memory.borrow()[from.at(&i)]
            });
            ("cat", Tensor::cat(&[x, y], dim)?, Naive::new(&shape, values.collect()))
        }
        (10, _) if rank > 0 => {
            let flipped = n.view(&n.shape, |i| with(i, d, n.shape[d] - 1 - i[d]));
            ("flip", x.flip(dim)?, flipped.map(|x| x))
        }
        (11, _) if rank > 0 && n.shape[d] > 0 => {
            let picked: Vec<i64> =
                (0..1 + random.below(4)).map(|_| random.below(n.shape[d]) as i64).collect();
            let mut shape = n.shape.clone();
            shape[d] = picked.len();
            let taken = n.view(&shape, |i| with(i, d, picked[i[d]] as usize)).map(|x| x);
            let index = Tensor::from_slice(&picked, [picked.len()])?;
            ("index_select", x.index_select(dim, &index)?, taken)
        }
        (12, _) => ("copy", x.copy()?, n.map(|x| x)),
        (13, _) if rank > 0 => {
            let sums = indices(&n.shape)
                .iter()
                .map(|i| (0..=i[d]).map(|k| n.memory.borrow()[n.at(&with(i, d, k))]).sum())
                .collect();
            ("cumsum", x.cumsum(dim)?, Naive::new(&n.shape, sums))
        }
        _ => return Ok(None),
    };
    // Whole numbers stay exact.
    let large = naive.values().iter().any(|x| x.abs() > 100.0);
    let pair = if large { (found.clamp(-9, 9)?, naive.map(|x| x.clamp(-9.0, 9.0))) } else { (found, naive) };
    Ok(Some((format!("{name} ({d})"), pair)))
}

/// An edit in place of a view, which its base and all other views show.
fn random_edit((x, n): &Pair, (y, m): &Pair, random: &mut Random) -> Option<String> {
    let choice = random.below(3);
    let fits = broadcast(&n.shape, &m.shape).as_ref() == Some(&n.shape);
    let (name, result, values) = match choice {
        0 if fits => ("add_", x.add_(y), n.zip(m, &n.shape, |x, y| (x + y).clamp(-100.0, 100.0))),
        1 if fits => ("copy_", x.copy_(y), m.expanded(&n.shape)),
        2 => ("fill_", x.fill_(5), n.map(|_| 5.0)),
        _ => return None,
    };
    let may_refuse = n.overlaps_itself() || n.overlaps_in_part(&m.expanded(&n.shape_or(fits, m)));
    match result {
        Ok(()) => {
            // As in PyTorch, a repeated element may be filled, and a copy of a tensor to itself is nothing.
            let harmless = choice == 2 || choice == 1 && x.is(y);
            assert!(harmless || !n.overlaps_itself(), "{name} of a target that overlaps itself");
            n.write(&values.values());
            if choice == 0 {
                x.clamp_(-100, 100).unwrap();
            }
        }
        Err(error) => assert!(may_refuse, "{name}: {error}"),
    }
    Some(name.to_owned())
}

impl Naive {
    /// The shape that another is expanded to before it is compared: this one's, if it fits.
    fn shape_or(&self, fits: bool, other: &Self) -> Vec<usize> {
        if fits { self.shape.clone() } else { other.shape.clone() }
    }
}

fn start(dtype: DType, random: &mut Random) -> Pair {
    let large = random.below(8) == 0;
    let shape: Vec<usize> = match large {
        true => vec![random.below(40) + 1, random.below(40) + 1],
        false => (0..random.below(4)).map(|_| random.below(5)).collect(),
    };
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| random.below(19) as f64 - 9.0).collect();
    let x = Tensor::from_vec(values.clone(), &shape[..]).unwrap().to(dtype).unwrap();
    (x, Naive::new(&shape, values))
}

fn check((x, n): &Pair, program: &[String]) {
    assert_eq!(x.shape(), n.shape, "{program:#?}");
    let found: Vec<f64> = x.detach().to(DType::F64).unwrap().to_vec().unwrap();
    assert!(found == n.values(), "{program:#?}\ngives {found:?}\ninstead of {:?}", n.values());
}

const STEPS: usize = 12;

#[test]
fn programs_on_views_are_what_a_naive_interpreter_makes_of_them() {
    let programs = if cfg!(miri) { 20 } else { 1000 };
    for seed in 0..programs {
        let random = &mut Random(seed);
        let dtype = [DType::F64, DType::F32, DType::I64, DType::I32][random.below(4)];
        let mut pool = vec![start(dtype, random), start(dtype, random)];
        let mut program =
            vec![format!("seed {seed}, {dtype}, {:?} and {:?}", pool[0].1.shape, pool[1].1.shape)];
        for _ in 0..STEPS {
            let (a, b) = (random.below(pool.len()), random.below(pool.len()));
            let made = match random.below(4) {
                0 | 1 => random_view(&pool[a], random).unwrap_or_else(|e| panic!("{program:#?}: {e}")),
                2 => random_operation(&pool[a], &pool[b], random)
                    .unwrap_or_else(|e| panic!("{program:#?}: {e}")),
                _ => {
                    if let Some(name) = random_edit(&pool[a], &pool[b], random) {
                        program.push(format!("{name} of {a} with {b}"));
                        pool.iter().for_each(|pair| check(pair, &program));
                    }
                    None
                }
            };
            if let Some((name, pair)) = made {
                program.push(format!("{} = {name} of {a}, {b}", pool.len()));
                check(&pair, &program);
                pool.push(pair);
            }
        }
    }
}

/// The same steps with every view copied out: the gradients must not know the difference.
#[test]
fn gradients_through_views_are_those_through_copies() {
    let programs = if cfg!(miri) { 5 } else { 200 };
    for seed in 0..programs {
        let gradients = |copied: bool| -> Vec<Vec<f64>> {
            let random = &mut Random(seed);
            let leaves = [start(DType::F64, random), start(DType::F64, random)];
            leaves.iter().for_each(|(x, _)| drop(x.requires_grad_(true).unwrap()));
            let mut pool = leaves.to_vec();
            for _ in 0..STEPS {
                let (a, b) = (random.below(pool.len()), random.below(pool.len()));
                let made = if random.below(2) == 0 {
                    // What is contiguous differs, so that choice is left out of both.
                    let mut view = random_view(&pool[a], random).unwrap();
                    if view.as_ref().is_some_and(|(name, _)| name == "view(-1)") {
                        view = None;
                    }
                    view.map(|(name, (x, n))| (name, (if copied { x.copy().unwrap() } else { x }, n)))
                } else {
                    random_operation(&pool[a], &pool[b], random).unwrap()
                };
                pool.extend(made.map(|(_, pair)| pair));
            }
            // Each result with another weight.
            let mut loss = Tensor::scalar(0.0f64);
            for (i, (x, _)) in pool.iter().enumerate() {
                loss = loss.add(&x.sum(()).unwrap().mul(i as f64 + 1.0).unwrap()).unwrap();
            }
            loss.backward().unwrap();
            leaves.iter().map(|(x, _)| x.grad().unwrap().to_vec().unwrap()).collect()
        };
        let (with_copies, with_views) = (gradients(true), gradients(false));
        for (a, b) in with_copies.iter().flatten().zip(with_views.iter().flatten()) {
            // Sums of several gradients come in another order.
            assert!(
                (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                "seed {seed}: {with_copies:?} and {with_views:?}"
            );
        }
    }
}

type Large = (&'static str, &'static [&'static [usize]], fn(&[Tensor]) -> Result<Tensor>);

/// Operations on inputs that are large enough to be split among threads.
#[rustfmt::skip]
const LARGE: &[Large] = &[
    ("exp", &[&[1 << 18]], |x| x[0].exp()),
    ("mul of a transpose", &[&[512, 513], &[513, 512]], |x| x[0].mul(&x[1].t()?)),
    ("broadcast add", &[&[512, 513], &[513]], |x| x[0].add(&x[1])),
    ("where", &[&[1 << 18], &[1 << 18]], |x| x[0].where_(&x[1].gt(0)?, &x[1])),
    ("sum", &[&[1 << 20]], |x| x[0].sum(())),
    ("sum of rows", &[&[300, 2000]], |x| x[0].sum(1)),
    ("sum of columns", &[&[2000, 300]], |x| x[0].sum(0)),
    ("mean of the middle", &[&[40, 200, 60]], |x| x[0].mean(1)),
    ("var", &[&[300, 2000]], |x| x[0].var(1, 1.0)),
    ("var of all", &[&[1 << 19]], |x| x[0].var((), 1.0)),
    ("norm", &[&[1 << 19]], |x| x[0].norm(2.0, ())),
    ("prod", &[&[3000, 200]], |x| x[0].div(9)?.add(1)?.prod(0)),
    ("amax", &[&[300, 2000]], |x| x[0].amax(0)),
    ("logsumexp", &[&[300, 2000]], |x| x[0].logsumexp(1)),
    ("cumsum", &[&[300, 2000]], |x| x[0].cumsum(1)),
    ("cumsum of columns", &[&[2000, 300]], |x| x[0].cumsum(0)),
    ("softmax", &[&[300, 2000]], |x| x[0].softmax(1)),
    ("softmax of columns", &[&[2000, 300]], |x| x[0].softmax(0)),
    ("log_softmax", &[&[300, 2000]], |x| x[0].log_softmax(1)),
    ("layer_norm", &[&[300, 2000], &[2000], &[2000]], |x| layer_norm(&x[0], &[2000], Some(&x[1]), Some(&x[2]), 1e-5)),
    ("matmul", &[&[301, 257], &[257, 203]], |x| x[0].matmul(&x[1])),
    ("matmul with a long inner dimension", &[&[16, 20000], &[20000, 16]], |x| x[0].matmul(&x[1])),
    ("matrix and vector", &[&[1000, 1001], &[1001]], |x| x[0].matmul(&x[1])),
    ("batched matmul", &[&[12, 65, 70], &[12, 70, 66]], |x| x[0].matmul(&x[1])),
    ("conv2d", &[&[4, 8, 40, 40], &[16, 8, 3, 3], &[16]], |x| conv2d(&x[0], &x[1], Some(&x[2]), Conv2dOptions::default())),
    ("max_pool2d", &[&[8, 8, 64, 64]], |x| max_pool2d(&x[0], MaxPool2dOptions::new([2, 2]))),
    ("attention", &[&[2, 4, 130, 32], &[2, 4, 150, 32], &[2, 4, 150, 32]], |x| scaled_dot_product_attention(&x[0], &x[1], &x[2], Default::default())),
    ("index_select", &[&[2000, 300]], |x| x[0].index_select(0, &positions(5000, 2000)?)),
    ("embedding", &[&[2000, 300]], |x| embedding(&positions(5000, 2000)?, &x[0], Default::default())),
    ("gather", &[&[2000, 300]], |x| x[0].gather(0, &positions(300 * 1000, 2000)?.view([1000, 300])?)),
    ("cross_entropy", &[&[3000, 100]], |x| cross_entropy(&x[0], &positions(3000, 100)?, Default::default())),
    ("cat", &[&[300, 1000], &[200, 1000]], |x| Tensor::cat(x, 0)),
    ("sort", &[&[300, 2000]], |x| Ok(x[0].sort(1, false)?.0)),
    ("copy of a transpose", &[&[1000, 600]], |x| x[0].t()?.copy()),
];

fn positions(n: usize, below: usize) -> Result<Tensor> {
    let random = &mut Random(7);
    Tensor::from_vec((0..n).map(|_| random.below(below) as i64).collect(), [n])
}

#[test]
fn threads_do_not_change_a_bit() {
    for (name, shapes, f) in LARGE {
        for dtype in [DType::F32, DType::BF16] {
            let mut results: Vec<Vec<Vec<u8>>> = Vec::new();
            for threads in [1, 3] {
                sconce_kernels::set_threads(threads);
                let random = &mut Random(3);
                let inputs: Vec<Tensor> = shapes
                    .iter()
                    .map(|shape| {
                        let n = shape.iter().product();
                        let x: Vec<f32> = (0..n).map(|_| random.below(4001) as f32 / 2000.0 - 1.0).collect();
                        Tensor::from_vec(x, *shape).unwrap().to(dtype).unwrap().requires_grad_(true).unwrap()
                    })
                    .collect();
                let y = f(&inputs).unwrap_or_else(|e| panic!("{name} of {dtype}: {e}"));
                y.backward_with(Some(&y.detach().cos().unwrap()), Default::default()).unwrap();
                let gradients = inputs.iter().map(|x| x.grad().unwrap().to_bytes().unwrap());
                results.push([y.to_bytes().unwrap()].into_iter().chain(gradients).collect());
            }
            sconce_kernels::set_threads(0);
            assert!(results[0] == results[1], "{name} of {dtype}: threads change it");
        }
    }
}
