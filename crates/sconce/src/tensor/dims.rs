//! Sizes and strides, inline up to six dimensions.

use std::fmt;
use std::ops::{Deref, DerefMut};

pub(crate) const INLINE: usize = 6;

/// A short list of sizes, strides or dimensions: a `Vec<usize>` that allocates only beyond six elements.
///
/// Every tensor carries two of them, so copying one must cost a few instructions; that is why this is not a general
/// small vector.
#[derive(Default)]
pub struct Dims {
    len: usize,
    inline: [usize; INLINE],
    /// All elements, once there are more than six.
    spill: Option<Box<Spill>>,
}

/// Boxed once more, so that a list is one cache line.
#[derive(Clone)]
struct Spill(Vec<usize>);

/// The cold part of making a list.
#[cold]
fn spilled(elements: Vec<usize>) -> Option<Box<Spill>> {
    Some(Box::new(Spill(elements)))
}

impl Dims {
    /// An empty list.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of a slice.
    #[inline(always)]
    pub fn from_slice(slice: &[usize]) -> Self {
        let spill = if slice.len() > INLINE { spilled(slice.to_vec()) } else { None };
        // One by one: a loop would keep the elements in memory, from where they are then copied.
        let at = |i: usize| slice.get(i).copied().unwrap_or(0);
        Self { len: slice.len(), inline: [at(0), at(1), at(2), at(3), at(4), at(5)], spill }
    }

    /// A copy of a list of up to six elements.
    #[inline(always)]
    pub(crate) fn copied(&self) -> Self {
        Self::from_inline(self.inline, self.len)
    }

    /// A list of up to six elements, the first `len` of these.
    #[inline(always)]
    pub(crate) fn from_inline(inline: [usize; INLINE], len: usize) -> Self {
        debug_assert!(len <= INLINE, "more are not inline");
        Self { len, inline, spill: None }
    }

    /// One value `len` times.
    #[inline]
    pub fn from_elem(value: usize, len: usize) -> Self {
        let spill = if len > INLINE { spilled(vec![value; len]) } else { None };
        Self { len, inline: [value; INLINE], spill }
    }

    /// The list as a slice.
    #[inline]
    pub fn as_slice(&self) -> &[usize] {
        match &self.spill {
            None => &self.inline[..self.len.min(INLINE)],
            Some(spill) => &spill.0,
        }
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, value: usize) {
        if self.len < INLINE {
            self.inline[self.len] = value;
            self.len += 1;
        } else {
            self.insert(self.len, value);
        }
    }

    /// Inserts an element before position `at` ≤ `len`.
    ///
    /// # Panics
    ///
    /// If `at` is greater than the length.
    pub fn insert(&mut self, at: usize, value: usize) {
        assert!(at <= self.len, "insertion within the list");
        if self.len < INLINE {
            self.inline.copy_within(at..self.len, at + 1);
            self.inline[at] = value;
        } else {
            let inline = &self.inline;
            self.spill.get_or_insert_with(|| Box::new(Spill(inline.to_vec()))).0.insert(at, value);
        }
        self.len += 1;
    }

    /// Removes and returns the element at a position.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn remove(&mut self, at: usize) -> usize {
        let value = self[at];
        match &mut self.spill {
            Some(spill) => {
                spill.0.remove(at);
                if self.len == INLINE + 1 {
                    self.inline.copy_from_slice(&spill.0);
                    self.spill = None;
                }
            }
            None => self.inline.copy_within(at + 1..self.len, at),
        }
        self.len -= 1;
        value
    }

    /// Appends the elements of a slice.
    pub fn extend_from_slice(&mut self, slice: &[usize]) {
        self.extend(slice.iter().copied());
    }
}

impl Clone for Dims {
    #[inline]
    fn clone(&self) -> Self {
        Self { len: self.len, inline: self.inline, spill: self.spill.clone() }
    }
}

impl Deref for Dims {
    type Target = [usize];

    #[inline]
    fn deref(&self) -> &[usize] {
        self.as_slice()
    }
}

impl DerefMut for Dims {
    fn deref_mut(&mut self) -> &mut [usize] {
        match &mut self.spill {
            None => &mut self.inline[..self.len.min(INLINE)],
            Some(spill) => &mut spill.0,
        }
    }
}

impl Extend<usize> for Dims {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

impl FromIterator<usize> for Dims {
    fn from_iter<I: IntoIterator<Item = usize>>(values: I) -> Self {
        let mut dims = Self::new();
        dims.extend(values);
        dims
    }
}

impl<'a> IntoIterator for &'a Dims {
    type Item = &'a usize;
    type IntoIter = std::slice::Iter<'a, usize>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<&[usize]> for Dims {
    fn from(slice: &[usize]) -> Self {
        Self::from_slice(slice)
    }
}

impl PartialEq for Dims {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Dims {}

impl std::hash::Hash for Dims {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_vec_across_the_inline_boundary() {
        let mut dims = Dims::new();
        let mut vec = Vec::new();
        for i in 0..10 {
            let at = i * 7 % (i + 1);
            dims.insert(at, i);
            vec.insert(at, i);
            assert_eq!(dims.as_slice(), vec);
            assert_eq!(Dims::from_slice(&vec), dims);
            assert_eq!(vec.iter().copied().collect::<Dims>(), dims);
        }
        while !vec.is_empty() {
            let at = 5 % vec.len();
            assert_eq!(dims.remove(at), vec.remove(at));
            assert_eq!(dims.as_slice(), vec);
        }
    }
}
