//! Selecting and sorting as PyTorch and the GNU C++ library below it do: where elements are equal, the swaps of these
//! algorithms decide which comes first.
//!
//! All of them move places of elements; `less` compares two places. Musser, "Introspective sorting and selection
//! algorithms".

use std::cmp::Ordering;

/// Below this size what is left is sorted by insertion.
const SMALL: usize = 16;

/// The place of the element of rank `k` of a line that PyTorch finds.
pub(super) fn ranked<T: Copy>(x: &[T], k: usize, compare: impl Fn(T, T) -> Ordering) -> usize {
    let mut places: Vec<usize> = (0..x.len()).collect();
    quickselect(&mut places, k, |a, b| compare(x[a], x[b]).is_lt());
    places[k]
}

/// The places of the `k` first elements of a line in an order.
pub(super) fn first_places<T: Copy>(x: &[T], k: usize, compare: impl Fn(T, T) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..x.len()).collect();
    let less = |a: usize, b: usize| compare(x[a], x[b]).is_lt();
    if k * 64 <= x.len() {
        partial_sort(&mut places, k, less);
    } else if let Some(last) = k.checked_sub(1) {
        nth_element(&mut places, last, less);
        sort(&mut places[..last], less);
    }
    places.truncate(k);
    places
}

/// PyTorch's own quickselect: afterwards the place of rank `k` is at `k`.
pub(super) fn quickselect(places: &mut [usize], k: usize, less: impl Fn(usize, usize) -> bool) {
    let (mut left, mut right) = (0, places.len().saturating_sub(1));
    while left < right {
        let order = |places: &mut [usize], a: usize, b: usize| {
            if less(places[b], places[a]) {
                places.swap(a, b);
            }
        };
        if right == left + 1 {
            order(places, left, right);
            return;
        }
        // The median of three becomes the pivot, on the left.
        places.swap(left + (right - left) / 2, left + 1);
        order(places, left + 1, right);
        order(places, left, right);
        order(places, left + 1, left);
        let pivot = places[left];
        let (mut i, mut j) = (left + 1, right);
        loop {
            i += 1;
            while less(places[i], pivot) {
                i += 1;
            }
            j -= 1;
            while less(pivot, places[j]) {
                j -= 1;
            }
            if j < i {
                break;
            }
            places.swap(i, j);
        }
        places.swap(left, j);
        if j <= k {
            left = i;
        }
        if j >= k {
            right = j.saturating_sub(1);
        }
    }
}

/// `std::sort`.
pub(super) fn sort(places: &mut [usize], less: impl Fn(usize, usize) -> bool) {
    if places.is_empty() {
        return;
    }
    // Parts still to be split, and how often at most.
    let mut parts = vec![(0, places.len(), depth(places.len()))];
    while let Some((first, mut last, mut depth)) = parts.pop() {
        while last - first > SMALL {
            if depth == 0 {
                let part = &mut places[first..last];
                let length = part.len();
                partial_sort(part, length, &less);
                break;
            }
            depth -= 1;
            let cut = first + partition(&mut places[first..last], &less);
            parts.push((cut, last, depth));
            last = cut;
        }
    }
    insertion_sort(places, &less);
}

/// `std::nth_element`: afterwards the place of rank `nth` is there, and none of a lower rank behind it.
pub(super) fn nth_element(places: &mut [usize], nth: usize, less: impl Fn(usize, usize) -> bool) {
    let (mut first, mut last) = (0, places.len());
    if nth >= last {
        return;
    }
    let mut depth = depth(last);
    while last - first > 3 {
        if depth == 0 {
            heap_select(&mut places[first..last], nth + 1 - first, &less);
            places.swap(first, nth);
            return;
        }
        depth -= 1;
        let cut = first + partition(&mut places[first..last], &less);
        if cut <= nth { first = cut } else { last = cut }
    }
    insertion_sort(&mut places[first..last], &less);
}

/// `std::partial_sort`: afterwards the `middle` places of the lowest ranks stand first, in order.
pub(super) fn partial_sort(places: &mut [usize], middle: usize, less: impl Fn(usize, usize) -> bool) {
    heap_select(places, middle, &less);
    for end in (1..middle).rev() {
        pop_heap(places, end, end, &less);
    }
}

/// How often a range is split before it is sorted by a heap.
fn depth(length: usize) -> u32 {
    2 * length.max(1).ilog2()
}

/// Splits a range of more than three places by the median of three of them; where the second part begins.
fn partition(places: &mut [usize], less: &impl Fn(usize, usize) -> bool) -> usize {
    let (a, b, c) = (1, places.len() / 2, places.len() - 1);
    let below = |i: usize, j: usize| less(places[i], places[j]);
    let median = match (below(a, b), below(b, c), below(a, c)) {
        (true, true, _) | (false, false, false) => b,
        (true, false, true) | (false, true, false) => c,
        (true, false, false) | (false, _, true) => a,
    };
    places.swap(0, median);
    let pivot = places[0];
    let (mut first, mut last) = (1, places.len());
    loop {
        while less(places[first], pivot) {
            first += 1;
        }
        last -= 1;
        while less(pivot, places[last]) {
            last -= 1;
        }
        if first >= last {
            return first;
        }
        places.swap(first, last);
        first += 1;
    }
}

fn insertion_sort(places: &mut [usize], less: &impl Fn(usize, usize) -> bool) {
    for i in 1..places.len() {
        let place = places[i];
        let mut to = i;
        // Among the first ones what comes before all goes there at once, whatever stands between.
        let at_once = (places.len() <= SMALL || i < SMALL) && less(place, places[0]);
        while to > 0 && (at_once || less(place, places[to - 1])) {
            places[to] = places[to - 1];
            to -= 1;
        }
        places[to] = place;
    }
}

/// Moves the `middle` places of the lowest ranks to the front, as a heap.
fn heap_select(places: &mut [usize], middle: usize, less: &impl Fn(usize, usize) -> bool) {
    for parent in (0..middle / 2).rev() {
        let place = places[parent];
        sift(places, parent, middle, place, less);
    }
    for i in middle..places.len() {
        if middle > 0 && less(places[i], places[0]) {
            pop_heap(places, middle, i, less);
        }
    }
}

/// Moves the top of the heap of `length` places to `result`, whose place joins the heap.
fn pop_heap(places: &mut [usize], length: usize, result: usize, less: &impl Fn(usize, usize) -> bool) {
    let place = places[result];
    places[result] = places[0];
    sift(places, 0, length, place, less);
}

/// Fills a hole of the heap of `length` places: down to a leaf, then up to where `place` belongs.
fn sift(places: &mut [usize], top: usize, length: usize, place: usize, less: &impl Fn(usize, usize) -> bool) {
    let mut hole = top;
    while 2 * hole + 2 < length {
        let mut child = 2 * hole + 2;
        if less(places[child], places[child - 1]) {
            child -= 1;
        }
        places[hole] = places[child];
        hole = child;
    }
    if 2 * hole + 2 == length {
        places[hole] = places[2 * hole + 1];
        hole = 2 * hole + 1;
    }
    while hole > top && less(places[(hole - 1) / 2], place) {
        places[hole] = places[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    places[hole] = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers with many equal ones, and sizes on both sides of where the algorithms change.
    fn cases() -> impl Iterator<Item = Vec<u64>> {
        (0..120usize).map(|n| (0..n as u64).map(|i| i.wrapping_mul(2654435761) % 17).collect())
    }

    #[test]
    fn ranks_are_right() {
        for x in cases() {
            let less = |a: usize, b: usize| x[a] < x[b];
            let mut ranked = x.clone();
            ranked.sort_unstable();
            let all = || (0..x.len()).collect::<Vec<_>>();
            let read = |places: &[usize]| places.iter().map(|&p| x[p]).collect::<Vec<_>>();
            let (mut sorted, mut by_heap) = (all(), all());
            sort(&mut sorted, less);
            partial_sort(&mut by_heap, x.len(), less);
            assert_eq!((read(&sorted), read(&by_heap)), (ranked.clone(), ranked.clone()));
            for k in 0..x.len() {
                let (mut by_nth, mut by_quick, mut by_heap) = (all(), all(), all());
                nth_element(&mut by_nth, k, less);
                quickselect(&mut by_quick, k, less);
                partial_sort(&mut by_heap, k, less);
                assert_eq!((x[by_nth[k]], x[by_quick[k]]), (ranked[k], ranked[k]));
                assert!(read(&by_nth[..k]).iter().all(|v| *v <= ranked[k]));
                assert_eq!(read(&by_heap[..k]), ranked[..k]);
            }
        }
    }
}
