//! What `sconce view` shows and what its keys do, without a terminal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sconce::io::{Archive, Encoding, Entry, Numbers, ReadAt, RowMajor};
use sconce::stats::{self, Summary};
use sconce::{Error, Result};

/// Ranges of the histogram.
const BINS: usize = 16;

/// Elements of a page of values.
pub(crate) const PAGE: u64 = 64;

/// Larger tensors are only read when asked for.
const SMALL_BYTES: u64 = 256 << 20;

/// Levels of modules; deeper names keep their dots.
const MAX_DEPTH: usize = 24;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Left,
    Right,
    Enter,
    Escape,
    Backspace,
    Char(char),
}

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) depth: usize,
    pub(crate) label: String,
    pub(crate) node: Node,
}

/// What a line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A prefix of names, and the elements below.
    Module { path: String, count: u64, open: bool },
    /// A tensor, by its index among those shown.
    Tensor(usize),
}

/// The tensors of a file, the lines that are unfolded, and where the reader is.
pub(crate) struct Browser {
    pub(crate) archive: Arc<Archive>,
    /// Indices of the entries that are shown.
    shown: Vec<usize>,
    folded: HashSet<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) at: usize,
    /// What names must contain.
    pub(crate) search: String,
    /// Whether keys go to the search.
    pub(crate) searching: bool,
    /// The first value that is shown.
    pub(crate) first: u64,
    summaries: HashMap<usize, std::result::Result<Summary, String>>,
    values: Option<(usize, u64, std::result::Result<Vec<f64>, String>)>,
}

impl Browser {
    pub(crate) fn new(archive: Archive, shown: Vec<usize>) -> Self {
        let mut browser = Self {
            archive: Arc::new(archive),
            shown,
            folded: HashSet::new(),
            lines: Vec::new(),
            at: 0,
            search: String::new(),
            searching: false,
            first: 0,
            summaries: HashMap::new(),
            values: None,
        };
        browser.unfold();
        browser
    }

    /// The tensor of the current line.
    pub(crate) fn selected(&self) -> Option<(usize, &Entry)> {
        match self.lines.get(self.at)?.node {
            Node::Tensor(index) => Some((index, self.archive.entries().get(index)?)),
            Node::Module { .. } => None,
        }
    }

    /// The statistics of a tensor, if they were taken.
    pub(crate) fn summary(&self, index: usize) -> Option<&std::result::Result<Summary, String>> {
        self.summaries.get(&index)
    }

    /// The values that were read last, if they are those of the current tensor.
    pub(crate) fn values(&self, index: usize) -> Option<&std::result::Result<Vec<f64>, String>> {
        self.values.as_ref().filter(|(i, first, _)| (*i, *first) == (index, self.first)).map(|(.., v)| v)
    }

    /// Does what a key means; `rows` is the height of a page. Returns whether to go on.
    pub(crate) fn press(&mut self, key: Key, rows: usize) -> bool {
        let old = self.selected().map(|(index, _)| index);
        let go_on = match self.searching {
            true => {
                self.press_in_search(key);
                true
            }
            false => self.press_in_tree(key, rows),
        };
        if self.selected().map(|(index, _)| index) != old {
            self.first = 0;
        }
        go_on
    }

    fn press_in_search(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.search.push(c),
            Key::Backspace => drop(self.search.pop()),
            Key::Escape => {
                self.search.clear();
                self.searching = false;
            }
            Key::Enter => self.searching = false,
            Key::Up | Key::Down => {
                self.searching = false;
                self.press_in_tree(key, 1);
                return;
            }
            _ => return,
        }
        self.unfold();
        // The first match is what was searched for.
        let first = self.lines.iter().position(|line| matches!(line.node, Node::Tensor(_)));
        self.at = first.unwrap_or(0);
    }

    fn press_in_tree(&mut self, key: Key, rows: usize) -> bool {
        let last = self.lines.len().saturating_sub(1);
        match key {
            Key::Char('q') => return false,
            Key::Char('/') => self.searching = true,
            Key::Escape if !self.search.is_empty() => {
                self.search.clear();
                self.unfold();
            }
            Key::Escape => return false,
            Key::Up | Key::Char('k') => self.at = self.at.saturating_sub(1),
            Key::Down | Key::Char('j') => self.at = (self.at + 1).min(last),
            Key::PageUp => self.at = self.at.saturating_sub(rows),
            Key::PageDown => self.at = (self.at + rows).min(last),
            Key::Home | Key::Char('g') => self.at = 0,
            Key::End | Key::Char('G') => self.at = last,
            Key::Enter | Key::Char(' ') => self.fold(None),
            Key::Left | Key::Char('h') => self.fold(Some(true)),
            Key::Right | Key::Char('l') => self.fold(Some(false)),
            Key::Char(']') => {
                if let Some((_, entry)) = self.selected()
                    && self.first + PAGE < entry.numel() as u64
                {
                    self.first += PAGE;
                }
            }
            Key::Char('[') => self.first = self.first.saturating_sub(PAGE),
            Key::Char('s') => {
                if let Some((index, _)) = self.selected() {
                    self.summaries.remove(&index);
                    self.summarise(index);
                }
            }
            _ => {}
        }
        true
    }

    /// Folds the current module or unfolds it; on a tensor, goes to its module.
    fn fold(&mut self, close: Option<bool>) {
        let Some(line) = self.lines.get(self.at) else { return };
        match &line.node {
            Node::Module { path, open, .. } => {
                let path = path.clone();
                if close.unwrap_or(*open) {
                    self.folded.insert(path);
                } else {
                    self.folded.remove(&path);
                }
                self.unfold();
            }
            Node::Tensor(_) if close == Some(true) => {
                let depth = line.depth;
                let above = self.lines[..self.at].iter().rposition(|line| line.depth < depth);
                self.at = above.unwrap_or(self.at);
            }
            Node::Tensor(_) => {}
        }
    }

    /// Makes the lines anew.
    fn unfold(&mut self) {
        let entries = self.archive.entries();
        let wanted = self.search.to_lowercase();
        let matching: Vec<usize> = self
            .shown
            .iter()
            .copied()
            .filter(|&i| entries.get(i).is_some_and(|e| e.name().to_lowercase().contains(&wanted)))
            .collect();
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for &i in &matching {
            let name = entries[i].name();
            for (dot, _) in name.match_indices('.').take(MAX_DEPTH) {
                *sums.entry(&name[..dot]).or_default() += entries[i].numel() as u64;
            }
        }
        let mut lines = Vec::new();
        let mut seen = HashSet::new();
        for &i in &matching {
            let name = entries[i].name();
            let (mut start, mut depth, mut hidden) = (0, 0, false);
            for (dot, _) in name.match_indices('.').take(MAX_DEPTH) {
                let path = &name[..dot];
                // A search shows what it finds.
                let open = !wanted.is_empty() || !self.folded.contains(path);
                if !hidden && seen.insert(path) {
                    let node = Node::Module { path: path.to_owned(), count: sums[path], open };
                    lines.push(Line { depth, label: name[start..dot].to_owned(), node });
                }
                hidden |= !open;
                (start, depth) = (dot + 1, depth + 1);
            }
            if !hidden {
                lines.push(Line { depth, label: name[start..].to_owned(), node: Node::Tensor(i) });
            }
        }
        self.lines = lines;
        self.at = self.at.min(self.lines.len().saturating_sub(1));
    }

    /// Reads what the current tensor still lacks; returns whether anything was.
    pub(crate) fn complete(&mut self) -> bool {
        let Some((index, entry)) = self.selected() else { return false };
        let small = entry.bytes() <= SMALL_BYTES;
        if self.values(index).is_none() {
            let values = match small || entry.is_contiguous() {
                true => self.read(entry).map_err(|e| e.to_string()),
                false => Err("a large strided tensor".to_owned()),
            };
            self.values = Some((index, self.first, values));
            return true;
        }
        if small && self.summary(index).is_none() {
            self.summarise(index);
            return true;
        }
        false
    }

    fn summarise(&mut self, index: usize) {
        let Some(entry) = self.archive.entries().get(index) else { return };
        let summary = stats::of_entry(&self.archive, entry, BINS).map_err(|e| e.to_string());
        self.summaries.insert(index, summary);
    }

    /// A page of values from the first one shown; of blocks, whole blocks.
    fn read(&self, entry: &Entry) -> Result<Vec<f64>> {
        let numbers = Numbers::of(entry)?;
        let (elements, bytes) = match entry.encoding() {
            Encoding::Packed(packed) => (u64::from(packed.elements), u64::from(packed.bytes)),
            Encoding::Plain(dtype) => (1, dtype.size() as u64),
            other => return Err(Error::unsupported(format!("no values of {}", other.name()))),
        };
        let (from, to) = (self.first, (self.first + PAGE).min(entry.numel() as u64));
        let (start, end) = (from / elements, to.div_ceil(elements));
        let mut buffer = vec![0; ((end - start) * bytes) as usize];
        RowMajor::new(&self.archive, entry).read_at(start * bytes, &mut buffer)?;
        let mut values = Vec::new();
        numbers.decode(&buffer, &mut values)?;
        let per = numbers.per_element() as u64;
        let skip = ((from - start * elements) * per) as usize;
        Ok(values.into_iter().skip(skip).take(((to - from) * per) as usize).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sconce::DType;

    fn browser() -> Browser {
        let mut archive = Archive::new();
        for (name, n) in [("net.0.weight", 100), ("net.0.bias", 2), ("net.1.weight", 3), ("scale", 1)] {
            let bytes = (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect();
            archive.push_bytes(Entry::new(name, DType::F32, [n]), bytes).expect("room");
        }
        Browser::new(archive, vec![0, 1, 2, 3])
    }

    fn labels(browser: &Browser) -> Vec<&str> {
        browser.lines.iter().map(|line| line.label.as_str()).collect()
    }

    #[test]
    fn modules_fold_and_searches_find() {
        let mut browser = browser();
        assert_eq!(labels(&browser), ["net", "0", "weight", "bias", "1", "weight", "scale"]);
        assert!(matches!(&browser.lines[0].node, Node::Module { count: 105, open: true, .. }));
        browser.press(Key::Down, 10);
        browser.press(Key::Enter, 10);
        assert_eq!(labels(&browser), ["net", "0", "1", "weight", "scale"]);
        browser.press(Key::End, 10);
        assert_eq!(browser.selected().map(|(i, _)| i), Some(3));
        for key in [Key::Char('/'), Key::Char('B'), Key::Char('i')] {
            assert!(browser.press(key, 10));
        }
        assert_eq!(labels(&browser), ["net", "0", "bias"]);
        assert_eq!(browser.selected().map(|(i, _)| i), Some(1));
        for key in [Key::Enter, Key::Escape, Key::Home, Key::Left] {
            assert!(browser.press(key, 10));
        }
        assert_eq!(labels(&browser), ["net", "scale"]);
        assert!(!browser.press(Key::Char('q'), 10));
    }

    #[test]
    fn values_come_by_pages_and_statistics_follow() {
        let mut browser = browser();
        for _ in 0..2 {
            browser.press(Key::Down, 10);
        }
        assert!(browser.values(0).is_none() && browser.complete() && browser.complete());
        assert!(!browser.complete());
        let first =
            |browser: &Browser| browser.values(0).and_then(|v| v.as_ref().ok()).map(|v| (v[0], v.len()));
        assert_eq!(first(&browser), Some((0.0, 64)));
        assert!(browser.summary(0).is_some_and(|s| s.as_ref().is_ok_and(|s| s.stats.max == 99.0)));
        browser.press(Key::Char(']'), 10);
        browser.press(Key::Char(']'), 10);
        assert!(browser.complete());
        assert_eq!(first(&browser), Some((64.0, 36)));
        browser.press(Key::Down, 10);
        assert_eq!(browser.first, 0);
    }

    #[test]
    fn an_empty_file_has_nothing_to_select() {
        let mut browser = Browser::new(Archive::new(), Vec::new());
        for key in [Key::Down, Key::PageDown, Key::Enter, Key::End, Key::Char('s'), Key::Char(']')] {
            assert!(browser.press(key, 10));
        }
        assert!(!browser.complete() && browser.selected().is_none());
    }
}
