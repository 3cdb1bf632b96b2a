//! `sconce view` in a terminal of its own.

#![cfg(unix)]

mod common;

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Folder, archive, sconce};
use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};

const ROWS: u16 = 40;
const COLUMNS: u16 = 120;
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal in which the command runs.
struct Terminal {
    parser: vt100::Parser,
    bytes: Receiver<Vec<u8>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    // The terminal lasts as long as this.
    _pty: Box<dyn portable_pty::MasterPty + Send>,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_sconce"));
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).expect("the command starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("its output");
        let keys = pair.master.take_writer().expect("its input");
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { parser: vt100::Parser::new(ROWS, COLUMNS, 0), bytes, keys, child, _pty: pair.master }
    }

    /// Waits until the screen is as wanted.
    fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.parser.screen().contents();
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "{what} does not come:\n{screen}");
            if let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(50)) {
                self.parser.process(&bytes);
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys are taken");
        self.keys.flush().expect("keys are taken");
    }
}

#[test]
fn tree_search_histogram_and_values() {
    let folder = Folder::new("view");
    let many: Vec<f32> = (0..200).map(|i| i as f32).collect();
    let file = folder.save(
        "m.safetensors",
        &archive(&[
            ("net.0.weight", &many),
            ("net.0.bias", &[1.5, f32::NAN]),
            ("net.1.\u{1b}[31mweight", &[-2.0]),
            ("scale", &[0.25]),
        ]),
    );
    let mut terminal = Terminal::run(&["view", &file]);
    let screen = terminal.wait("the tree", |s| s.contains("q quit") && s.contains("scale"));
    assert!(screen.contains("▾ net  203") && screen.contains("weight  float32 [200]"), "{screen}");
    // Names cannot steer the terminal.
    assert!(screen.contains("\\u{1b}[31mweight"), "{screen}");

    terminal.press("jjj");
    let screen = terminal.wait("values", |s| s.contains("values 0..64") && s.contains("min 0"));
    assert!(screen.contains("mean 99.50") && screen.contains("████"), "{screen}");
    terminal.press("]");
    terminal.wait("the second page", |s| s.contains("values 64..128") && s.contains("127.0"));

    terminal.press("/BIAS");
    let screen = terminal.wait("the search", |s| s.contains("/BIAS▏") && s.contains("NaN 1"));
    assert!(!screen.contains("scale") && screen.contains("1.500"), "{screen}");
    terminal.press("\r");
    terminal.wait("the found ones", |s| s.contains("Esc: all"));
    terminal.press("\x1b");
    terminal.wait("all", |s| s.contains("scale"));
    // Home, then left: the whole tree folds.
    terminal.press("g\x1b[D");
    terminal.wait("the folded tree", |s| s.contains("▸ net") && !s.contains("bias"));
    terminal.press("q");
    let status = terminal.child.wait().expect("it ends");
    assert_eq!(status.exit_code(), 0);
}

/// Long work of any command shows how far it is.
#[test]
fn long_work_has_a_bar() {
    let folder = Folder::new("progress");
    let (path, bytes) = (folder.path("m.safetensors"), 1_u64 << 30);
    let header = format!(r#"{{"x":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&[&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).unwrap();
    // A hole, which takes no place on the disk.
    file.set_len(8 + header.len() as u64 + bytes).unwrap();
    let mut terminal = Terminal::run(&["verify", path.to_str().unwrap()]);
    terminal.wait("a bar", |s| s.contains("of about 1.00 GiB"));
    terminal.child.kill().expect("it is still at work");
}

#[test]
fn without_a_terminal_it_says_so() {
    let folder = Folder::new("view-refused");
    let file = folder.save("m.safetensors", &archive(&[("x", &[1.0])]));
    let output = sconce(&["view", &file]);
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    assert_eq!(output.err, "sconce: view needs a terminal; `show` does not\n");
}
