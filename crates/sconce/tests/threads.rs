//! Tensors shared by threads: nothing tears, nothing deadlocks, nothing is lost. Also run under Miri.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sconce::autograd::{self, Backward};
use sconce::{DType, Error, ErrorKind, Result, Tensor, memory, no_grad};

const fn send_and_sync<T: Send + Sync + 'static>() {}
const _: () = send_and_sync::<Tensor>();
const _: () = send_and_sync::<Error>();
const _: () = send_and_sync::<autograd::HookHandle>();

const TIMES: usize = if cfg!(miri) { 8 } else { 400 };
/// Elements: kept beside the lock, and in an allocation of their own.
const SIZES: [usize; 2] = [7, if cfg!(miri) { 40 } else { 5000 }];

/// The same short patience for all tests of this program.
fn hurry() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| memory::set_patience(Duration::from_millis(150)));
}

/// Tries again while another thread is in the way, as the error's kind allows to.
fn insist<T>(mut f: impl FnMut() -> Result<T>) -> T {
    hurry();
    loop {
        match f() {
            Err(error) if error.kind() == ErrorKind::Busy => {}
            result => return result.unwrap(),
        }
    }
}

fn all_equal(values: &[i64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

#[test]
fn reads_see_whole_writes() {
    for n in SIZES {
        let x = Tensor::zeros([n], DType::I64).unwrap();
        let view = x.view([n, 1]).unwrap().t().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in [&x, &view] {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert!(all_equal(&insist(|| reader.to_vec())));
                        assert!(insist(|| reader.with_slice(all_equal)));
                        assert!(all_equal(&insist(|| reader.add(1)).to_vec().unwrap()));
                        thread::yield_now();
                    }
                });
            }
            let writers: Vec<_> = (0..2)
                .map(|k| {
                    let x = &x;
                    scope.spawn(move || {
                        for i in 0..TIMES {
                            insist(|| x.fill_((2 * i + k) as i64));
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|w| w.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn no_write_is_lost() {
    for n in SIZES {
        let x = Tensor::zeros([n], DType::I64).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..TIMES).for_each(|_| insist(|| x.add_(1))));
            }
        });
        assert_eq!(x.to_vec::<i64>().unwrap(), vec![3 * TIMES as i64; n]);
        assert_eq!(x.version() as usize, 3 * TIMES, "every write counts");
    }
}

#[test]
fn crossing_operations_do_not_deadlock() {
    hurry();
    let (a, b) = (Tensor::ones([100], DType::I64).unwrap(), Tensor::ones([100], DType::I64).unwrap());
    let start = Instant::now();
    thread::scope(|scope| {
        for (x, y) in [(&a, &b), (&b, &a)] {
            scope.spawn(move || {
                for _ in 0..TIMES {
                    let result = x.add_(y);
                    assert!(result.is_ok() || result.is_err_and(|e| e.kind() == ErrorKind::Busy));
                }
            });
        }
    });
    assert!(all_equal(&a.to_vec().unwrap()) && all_equal(&b.to_vec().unwrap()));
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn an_operand_that_is_the_target_is_locked_once() {
    let x = Tensor::ones([50], DType::I64).unwrap();
    let times = if cfg!(miri) { 3 } else { 20 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..times).for_each(|_| insist(|| x.add_(&x))));
        }
    });
    assert_eq!(x.to_vec::<i64>().unwrap(), [1i64 << (2 * times); 50]);
}

#[test]
fn overlapping_views_are_one_memory() {
    let x = Tensor::zeros([90], DType::I64).unwrap();
    let parts = [x.narrow(0, 0, 60).unwrap(), x.narrow(0, 30, 60).unwrap(), x.slice(0, 30, 60, 1).unwrap()];
    thread::scope(|scope| {
        for (k, part) in parts.iter().enumerate() {
            let overlap = &parts[2];
            scope.spawn(move || {
                for i in 0..TIMES {
                    insist(|| part.fill_((3 * i + k) as i64));
                    assert!(all_equal(&insist(|| overlap.to_vec())));
                }
            });
        }
    });
    // Reading one part while writing another of the same memory.
    let (low, high) = (x.narrow(0, 0, 45).unwrap(), x.narrow(0, 45, 45).unwrap());
    x.fill_(1).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| (0..TIMES).for_each(|_| insist(|| low.copy_(&high))));
        scope.spawn(|| (0..TIMES).for_each(|_| insist(|| high.copy_(&low))));
    });
    assert_eq!(x.to_vec::<i64>().unwrap(), [1; 90]);
}

#[test]
fn copies_between_overlapping_views_are_right_or_refused() {
    let x = Tensor::arange(0, 9, 1, DType::I64).unwrap();
    let error = x.slice(0, 1, 9, 1).unwrap().copy_(&x.slice(0, 0, 8, 1).unwrap()).unwrap_err();
    assert!(error.to_string().contains("share some of their memory"), "{error}");
    assert_eq!(x.to_vec::<i64>().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let square = x.view([3, 3]).unwrap();
    square.copy_(&square.t().unwrap()).unwrap();
    assert_eq!(x.to_vec::<i64>().unwrap(), [0, 3, 6, 1, 4, 7, 2, 5, 8]);
    square.add_(&square.select(0, 0).unwrap()).unwrap_err();
    square.add_(&square.select(1, 0).unwrap()).unwrap();
    assert_eq!(x.to_vec::<i64>().unwrap(), [0, 4, 8, 1, 5, 9, 2, 6, 10]);
    x.slice(0, 0, 8, 2).unwrap().copy_(&x.slice(0, 1, 9, 2).unwrap()).unwrap();
    assert_eq!(x.to_vec::<i64>().unwrap(), [4, 4, 1, 1, 9, 9, 6, 6, 10]);
    square.expand([3, 3, 3]).unwrap().add_(1).unwrap_err();
}

#[test]
fn a_writer_that_waits_too_long_is_told_so() {
    hurry();
    for n in SIZES {
        let x = Tensor::zeros([n], DType::F32).unwrap();
        let error =
            x.with_slice(|_: &[f32]| thread::scope(|s| s.spawn(|| x.add_(1)).join().unwrap())).unwrap();
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(
            error.to_string(),
            "add: another thread has held the tensor's storage for 150ms; writing it would race"
        );
        // In the same thread as well, and reading goes on.
        let kind = x.with_slice(|_: &[f32]| (x.fill_(1).unwrap_err().kind(), x.to_vec::<f32>().unwrap()));
        assert_eq!(kind.unwrap(), (ErrorKind::Busy, vec![0.0; n]));
        x.add_(1).unwrap();
    }
}

#[test]
fn a_panic_under_a_lock_leaves_the_tensor_usable() {
    let x = Tensor::zeros([3], DType::F32).unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        x.with_slice(|_: &[f32]| std::panic::resume_unwind(Box::new("stop")))
    }));
    assert!(result.is_err());
    x.fill_(2).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [2.0; 3]);
}

#[test]
fn no_gradient_is_lost() {
    let x = Tensor::ones([5], DType::F64).unwrap().requires_grad_(true).unwrap();
    let shared = x.mul(&x).unwrap();
    let keep = Backward { retain_graph: true, ..Backward::default() };
    let times = TIMES / 4;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..times {
                    let ones = x.detach().ones_like().unwrap();
                    insist(|| x.mul(2.0)?.backward_with(Some(&ones), Backward::default()));
                    insist(|| shared.backward_with(Some(&ones), keep));
                }
            });
        }
    });
    let expected = 3.0 * times as f64 * 4.0;
    assert_eq!(x.grad().unwrap().to_vec::<f64>().unwrap(), [expected; 5]);
}

#[test]
fn graphs_may_be_dropped_by_any_thread() {
    let depth = if cfg!(miri) { 50 } else { 5000 };
    let x = Tensor::ones([1], DType::F64).unwrap().requires_grad_(true).unwrap();
    let mut y = x.clone();
    let mut heads = Vec::new();
    for i in 0..depth {
        y = y.mul(1.0).unwrap();
        if i % (depth / 5) == 0 {
            heads.push(y.clone());
        }
    }
    heads.push(y);
    let threads: Vec<_> = heads.into_iter().map(|head| thread::spawn(move || drop(head))).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(x.grad().is_none());
}

#[test]
fn history_survives_edits_from_several_threads() {
    let w = Tensor::ones([4], DType::F64).unwrap().requires_grad_(true).unwrap();
    let rows = Tensor::zeros([3, 4], DType::F64).unwrap();
    thread::scope(|scope| {
        for i in 0..3 {
            let (w, rows) = (&w, &rows);
            scope.spawn(move || {
                for _ in 0..TIMES.div_ceil(20) {
                    insist(|| rows.detach().select(0, i)?.copy_(w));
                    insist(|| no_grad(|| rows.select(0, i)?.fill_(2.0)));
                    rows.requires_grad();
                    w.zero_grad();
                }
            });
        }
    });
    assert_eq!(rows.to_vec::<f64>().unwrap(), [2.0; 12]);
}

#[test]
fn memory_goes_back_and_forth_between_threads() {
    // From 64 KiB on memory is cached.
    let size = if cfg!(miri) { 8 << 10 } else { 128 << 10 };
    thread::scope(|scope| {
        for k in 0..3i64 {
            scope.spawn(move || {
                for _ in 0..TIMES / 8 {
                    let x = Tensor::full([size], k, DType::I64).unwrap();
                    let right = x.with_slice(|x: &[i64]| x.iter().step_by(97).all(|&e| e == k)).unwrap();
                    assert!(right);
                }
            });
        }
    });
    assert!(memory::stats().cached <= memory::stats().limit);
}
