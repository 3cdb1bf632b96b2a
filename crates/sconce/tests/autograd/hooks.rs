//! Hooks on tensors and after accumulation, and gradients that results keep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sconce::autograd;
use sconce::{DType, is_grad_enabled};

use crate::{KEEP, grad, leaf, message, ones, tensor, values};

#[test]
fn hooks_see_replace_and_stop() {
    let x = leaf(&[1.0, 2.0]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let handle = x
        .register_hook(move |g| {
            counter.fetch_add(1, Ordering::Relaxed);
            g.mul(10.0).map(Some)
        })
        .unwrap();
    let h = x.mul(2.0).unwrap();
    h.register_hook(|g| g.add(1.0).map(Some)).unwrap();
    h.register_hook(|_| Ok(None)).unwrap();
    ones(&h.mul(3.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [80.0, 80.0]);
    // Contributions are summed before the hook sees them.
    x.zero_grad();
    ones(&x.add(&x).unwrap()).unwrap();
    assert_eq!((grad(&x).unwrap(), calls.load(Ordering::Relaxed)), (vec![20.0, 20.0], 2));
    // `grad` runs them as well.
    let found = autograd::grad(&[(&x.mul(1.0).unwrap(), Some(&tensor(&[1.0, 1.0])))], &[&x], KEEP).unwrap();
    assert_eq!(values(found[0].as_ref().unwrap()), [10.0, 10.0]);
    handle.remove();
    x.zero_grad();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [1.0, 1.0]);

    let wrong = leaf(&[1.0, 2.0]);
    wrong.register_hook(|g| g.select(0, 0).map(Some)).unwrap();
    assert!(
        message(ones(&wrong.mul(1.0).unwrap()))
            .contains("hook returned shape [] for a gradient of shape [2]")
    );
    let wrong = leaf(&[1.0]);
    wrong.register_hook(|g| g.to(DType::F32).map(Some)).unwrap();
    assert!(message(ones(&wrong.mul(1.0).unwrap())).contains("hook returned float32"));
    let failing = leaf(&[1.0]);
    failing.register_hook(|_| Err(sconce::Error::argument("enough"))).unwrap();
    assert!(message(ones(&failing.mul(1.0).unwrap())).contains("enough"));
    assert!(tensor(&[1.0]).register_hook(|_| Ok(None)).is_err());
}

#[test]
fn results_keep_their_gradient_on_request() {
    // Numbers from PyTorch: hooks come first whenever they were added; an edit in place takes the request along.
    let a = leaf(&[1.0, 1.0]);
    let x = a.mul(2.0).unwrap();
    x.retain_grad().unwrap();
    x.retain_grad().unwrap();
    x.register_hook(|g| g.mul(10.0).map(Some)).unwrap();
    ones(&x.mul(3.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [30.0, 30.0]);

    let a = leaf(&[1.0]);
    let x = a.mul(2.0).unwrap();
    x.retain_grad().unwrap();
    x.mul_(5.0).unwrap();
    ones(&x).unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&a).unwrap()), (vec![1.0], vec![10.0]));

    a.retain_grad().unwrap();
    assert!(tensor(&[1.0]).retain_grad().is_err());
    let plain = a.mul(2.0).unwrap();
    ones(&plain).unwrap();
    assert!(plain.grad().is_none());
}

#[test]
fn hooks_after_accumulation_see_the_sum_and_may_step() {
    let (x, seen) = (leaf(&[1.0, 2.0]), Arc::new(Mutex::new(Vec::new())));
    let log = seen.clone();
    let handle = x
        .register_post_accumulate_grad_hook(move |x| {
            assert!(!is_grad_enabled());
            log.lock().unwrap().push(values(&x.grad().expect("just added")));
            Ok(())
        })
        .unwrap();
    // After hooks on the gradient, once per pass however often the leaf is used.
    x.register_hook(|g| g.mul(10.0).map(Some)).unwrap();
    ones(&x.add(&x).unwrap()).unwrap();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(*seen.lock().unwrap(), [[20.0, 20.0], [30.0, 30.0]]);
    // Not where nothing is accumulated.
    autograd::grad(&[(&x.sum(()).unwrap(), None)], &[&x], KEEP).unwrap();
    handle.remove();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);

    let (a, b) = (leaf(&[1.0]), leaf(&[2.0]));
    for p in [&a, &b] {
        p.register_post_accumulate_grad_hook(|p| {
            p.sub_(&p.grad().expect("just added"))?;
            p.zero_grad();
            Ok(())
        })
        .unwrap();
    }
    a.mul(3.0).unwrap().mul(&b).unwrap().backward().unwrap();
    assert_eq!((values(&a), grad(&a)), (vec![-5.0], None));

    let h = a.mul(2.0).unwrap();
    let refused = message(h.register_post_accumulate_grad_hook(|_| Ok(())));
    assert_eq!(refused, "register_post_accumulate_grad_hook: the tensor [1] is no leaf: mul made it");
    assert!(tensor(&[1.0]).register_post_accumulate_grad_hook(|_| Ok(())).is_err());
    let failing = leaf(&[1.0]);
    failing.register_post_accumulate_grad_hook(|_| Err(sconce::Error::argument("enough"))).unwrap();
    assert!(message(failing.mul(1.0).unwrap().backward()).ends_with("in a hook after accumulation: enough"));
}
