//! `sconce view`: a file's tensors on a full screen.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::time::Duration;

use clap::{ArgMatches, Command};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sconce::{Error, io};

use super::{Entry, Failure};
use crate::browser::{Browser, Key};
use crate::{input, screen};

pub(super) const ENTRY: Entry = Entry { name: "view", arguments, run };

fn arguments() -> Command {
    Command::new("view")
        .about("Browses a file on the whole terminal: tree, search, statistics, histogram and values")
        .arg(input::file("file"))
        .arg(input::selector())
        .after_help(
            "Keys:\n  arrows, PgUp, PgDn, Home, End  move; left and right fold modules\n  /  searches names; Enter \
             keeps what is found, Esc shows all\n  [ and ]  turn the pages of values\n  s  takes statistics of a \
             large tensor\n  q  quits",
        )
}

fn run(matches: &ArgMatches, _: &mut dyn Write) -> Result<(), Failure> {
    let archive = io::open(input::path(matches, "file"))?;
    let selector = input::given_selector(matches)?;
    let picked = input::select(&archive, selector.as_ref())?;
    let names: std::collections::HashSet<&str> = picked.iter().map(|e| e.name()).collect();
    let entries = archive.entries().iter().enumerate();
    let shown = entries.filter(|(_, e)| names.contains(e.name())).map(|(i, _)| i).collect();
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Error::unsupported("view needs a terminal; `show` does not").into());
    }
    let mut browser = Browser::new(archive, shown);
    let mut terminal = ratatui::try_init()?;
    let result = browse(&mut terminal, &mut browser);
    let restored = ratatui::try_restore();
    Ok(result.and(restored)?)
}

fn browse(terminal: &mut ratatui::DefaultTerminal, browser: &mut Browser) -> std::io::Result<()> {
    loop {
        terminal.draw(|frame| screen::draw(frame, browser))?;
        // Values are read when no key waits, so that moving on never does.
        while !event::poll(Duration::ZERO)? && browser.complete() {
            terminal.draw(|frame| screen::draw(frame, browser))?;
        }
        if let Event::Key(pressed) = event::read()?
            && pressed.kind != KeyEventKind::Release
        {
            let interrupted =
                pressed.code == KeyCode::Char('c') && pressed.modifiers.contains(KeyModifiers::CONTROL);
            let rows = screen::rows(terminal.size()?.height);
            if interrupted || !key(pressed).is_none_or(|key| browser.press(key, rows)) {
                return Ok(());
            }
        }
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    Some(match pressed.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Char(c) => Key::Char(c),
        _ => return None,
    })
}
