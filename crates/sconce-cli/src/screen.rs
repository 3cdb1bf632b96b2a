//! The picture of `sconce view`: the tree on the left, the current tensor on the right.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, ListState, Paragraph};
use sconce::stats::Summary;

use crate::browser::{Browser, Line as Row, Node, PAGE};
use crate::text::{grouped, printable, short};

const KEYS: &str = "↑↓ move  ←→ fold  / search  [ ] values  s statistics  q quit";

/// Characters of the longest bar of the histogram.
const BAR: usize = 24;

/// Rows of the tree that fit a screen of that height.
pub(crate) fn rows(height: u16) -> usize {
    usize::from(height.saturating_sub(3)).max(1)
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, browser: &Browser) {
    let [body, foot] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(body);
    draw_tree(frame, browser, left);
    draw_tensor(frame, browser, right);
    let text = match (browser.searching, browser.search.as_str()) {
        (true, search) => format!("/{}▏", printable(search)),
        (false, "") => KEYS.to_owned(),
        (false, search) => format!("/{}  (Esc: all)  {KEYS}", printable(search)),
    };
    frame.render_widget(Paragraph::new(text), foot);
}

fn draw_tree(frame: &mut Frame<'_>, browser: &Browser, area: Rect) {
    // Only what can be seen is made: files have a hundred thousand tensors.
    let height = usize::from(area.height.saturating_sub(2)).max(1);
    let first = browser.at.saturating_sub(height / 2).min(browser.lines.len().saturating_sub(height));
    let items = browser.lines.iter().skip(first).take(height).map(|row| ListItem::new(line(browser, row)));
    let title = format!(" {} ", printable(browser.archive.name()));
    let list = List::new(items)
        .block(Block::bordered().title(title))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = ListState::default();
    state.select((!browser.lines.is_empty()).then(|| browser.at - first));
    frame.render_stateful_widget(list, area, &mut state);
}

fn line(browser: &Browser, row: &Row) -> Line<'static> {
    let indent = " ".repeat(2 * row.depth);
    let dim = Style::new().fg(Color::DarkGray);
    match &row.node {
        Node::Module { count, open, .. } => Line::from(vec![
            Span::raw(format!("{indent}{} ", if *open { '▾' } else { '▸' })),
            Span::styled(printable(&row.label), Style::new().add_modifier(Modifier::BOLD)),
            Span::styled(format!("  {}", grouped(*count)), dim),
        ]),
        Node::Tensor(index) => {
            let about = browser
                .archive
                .entries()
                .get(*index)
                .map(|e| format!("  {} {:?}", e.encoding().name(), e.shape()))
                .unwrap_or_default();
            Line::from(vec![
                Span::raw(format!("{indent}  {}", printable(&row.label))),
                Span::styled(about, dim),
            ])
        }
    }
}

fn draw_tensor(frame: &mut Frame<'_>, browser: &Browser, area: Rect) {
    let Some((index, entry)) = browser.selected() else {
        let all = format!("{} tensors", grouped(browser.archive.entries().len() as u64));
        frame.render_widget(Paragraph::new(all).block(Block::bordered()), area);
        return;
    };
    let mut text = vec![
        Line::from(format!("{} {:?}", entry.encoding().name(), entry.shape())),
        Line::from(format!("{} elements, {} bytes", grouped(entry.numel() as u64), grouped(entry.bytes()))),
        Line::default(),
    ];
    match browser.summary(index) {
        Some(Ok(summary)) => statistics(summary, &mut text),
        Some(Err(error)) => text.push(Line::from(printable(error))),
        None => text.push(Line::from("s: statistics")),
    }
    text.push(Line::default());
    match browser.values(index) {
        Some(Ok(values)) => {
            let last = (browser.first + PAGE).min(entry.numel() as u64);
            text.push(Line::from(format!("values {}..{}", grouped(browser.first), grouped(last))));
            let columns = usize::from(area.width.saturating_sub(2) / 11).max(1);
            let rows = values.chunks(columns);
            text.extend(
                rows.map(|row| {
                    Line::from(row.iter().map(|x| format!("{:>11}", value(*x))).collect::<String>())
                }),
            );
        }
        Some(Err(error)) => text.push(Line::from(printable(error))),
        None => {}
    }
    let block = Block::bordered().title(format!(" {} ", printable(entry.name())));
    frame.render_widget(Paragraph::new(text).block(block), area);
}

/// A value; unlike a statistic it may be no number.
fn value(x: f64) -> String {
    if x.is_finite() { short(x) } else { x.to_string() }
}

fn statistics(summary: &Summary, text: &mut Vec<Line<'static>>) {
    let Summary { stats: s, histogram } = summary;
    let mean = if s.finite() > 0 { s.mean } else { f64::NAN };
    let pairs = [("min", s.min), ("max", s.max), ("mean", mean), ("std", s.std(1)), ("norm", s.norm())];
    text.push(Line::from(pairs.map(|(name, x)| format!("{name} {}", short(x))).join("  ")));
    let odd = s.nan + s.pos_inf + s.neg_inf;
    let style = if odd > 0 { Style::new().fg(Color::Red) } else { Style::new() };
    text.push(Line::from(vec![
        Span::raw(format!("zeros {}  ", grouped(s.zeros))),
        Span::styled(format!("NaN {}  Inf {}", grouped(s.nan), grouped(s.pos_inf + s.neg_inf)), style),
    ]));
    let most = histogram.iter().copied().max().unwrap_or(0);
    if most == 0 || s.min == s.max {
        return;
    }
    let step = (s.max - s.min) / histogram.len() as f64;
    for (i, &n) in histogram.iter().enumerate() {
        let bar = (n as f64 / most as f64 * BAR as f64).ceil() as usize;
        text.push(Line::from(format!("{:>11} {}", short(s.min + step * i as f64), "█".repeat(bar))));
    }
}
