//! Which tensors share memory.

use std::collections::HashMap;

use super::archive::Archive;
use super::entry::Entry;

/// Items in groups of one storage; groups and items in the order given.
pub(crate) fn by_storage<T>(items: impl IntoIterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut places: HashMap<usize, usize> = HashMap::new();
    let mut groups: Vec<Vec<T>> = Vec::new();
    for (storage, item) in items {
        let place = *places.entry(storage).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(item);
    }
    groups
}

impl Archive {
    /// The tensors that share a storage with others, in groups: tied weights and views.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sconce::{DType, io::{Archive, Entry}};
    ///
    /// let mut archive = Archive::new();
    /// let storage = archive.add_storage(Arc::new(vec![1, 2]));
    /// archive.push(Entry::new("embed", DType::U8, [2]), storage)?;
    /// archive.push_bytes(Entry::new("bias", DType::U8, [1]), vec![3])?;
    /// archive.push(Entry::new("head", DType::U8, [2]), storage)?;
    /// let names: Vec<Vec<&str>> = archive.ties().iter().map(|g| g.iter().map(|e| e.name()).collect()).collect();
    /// assert_eq!(names, [["embed", "head"]]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn ties(&self) -> Vec<Vec<&Entry>> {
        let mut groups = by_storage(self.entries().iter().map(|entry| (entry.storage(), entry)));
        groups.retain(|group| group.len() > 1);
        groups
    }
}
