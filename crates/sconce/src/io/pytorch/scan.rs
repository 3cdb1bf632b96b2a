//! Which names the pickles of a file ask for, whether or not the file can be opened.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::globals;
use super::tar::{self, is_tensor_class};
use super::{Legacy, PyTorch, Tar};
use crate::error::{Error, Result};
use crate::io::format::{FORMATS, Format, Objects};
use crate::io::limits::{HEAD_BYTES, MAX_PICKLE_BYTES};
use crate::io::pickle::{self, Permission};
use crate::io::source::Source;
use crate::io::tree::DictKind;
use crate::io::zip::Zip;

/// Pickles that follow each other in a legacy file.
const LEGACY_PICKLES: usize = 5;

/// A pickle of a file, and the names that it asks for.
#[derive(Debug)]
#[non_exhaustive]
pub struct ScannedPickle {
    /// Where it is: a record of the archive, or a position in the file.
    pub place: String,
    /// Every name, sorted, once.
    pub globals: Vec<ScannedGlobal>,
    /// Why it could not be followed to its end, in which case it may ask for more names.
    pub failure: Option<Error>,
}

/// A name that a pickle asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedGlobal {
    /// Module and name, joined by a dot.
    pub name: String,
    /// What it would mean for a reader that obeys.
    pub judgement: Judgement,
}

/// What a name in a pickle would mean for a reader that obeys it. The readers here obey none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// It rebuilds tensors, plain containers or PyTorch's own modules.
    Allowed,
    /// It is not known.
    Unknown,
    /// It runs code, starts programs, or reaches files or the network.
    Dangerous,
}

impl Judgement {
    /// Judges a full name.
    ///
    /// ```
    /// use sconce::io::Judgement;
    ///
    /// assert_eq!(Judgement::of("torch._utils._rebuild_tensor_v2"), Judgement::Allowed);
    /// assert_eq!(Judgement::of("my_project.Config"), Judgement::Unknown);
    /// assert_eq!(Judgement::of("posix.system"), Judgement::Dangerous);
    /// ```
    pub fn of(name: &str) -> Self {
        let within = |list: &[&str]| {
            list.iter()
                .any(|&known| name.strip_prefix(known).is_some_and(|r| r.is_empty() || r.starts_with('.')))
        };
        // TorchScript's own names are harmless wherever they stand.
        let allowed = globals::permission(name, Objects::Modules, true) != Permission::Refused;
        match (allowed || is_tensor_class(name), within(DANGEROUS)) {
            (true, _) => Self::Allowed,
            (false, true) => Self::Dangerous,
            (false, false) => Self::Unknown,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unknown => "unknown",
            Self::Dangerous => "dangerous",
        }
    }
}

/// Lists the names that the pickles of a file ask for; a file of a format without pickles has none.
///
/// Nothing is imported, looked up or called.
///
/// ```
/// use sconce::io::{Judgement, Source, scan};
///
/// let source = Source::from_bytes("hostile", b"\x80\x02cposix\nsystem\nU\x02ls\x85R.".to_vec());
/// let pickles = scan(&source)?;
/// assert_eq!(pickles[0].globals[0].name, "posix.system");
/// assert_eq!(pickles[0].globals[0].judgement, Judgement::Dangerous);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails when the file cannot be read, is of no known format, or is an archive whose directory does not follow its
/// format. What is wrong inside a pickle is reported with it.
pub fn scan(source: &Source) -> Result<Vec<ScannedPickle>> {
    scan_source(source).map_err(|e| e.context(source.name()))
}

fn scan_source(source: &Source) -> Result<Vec<ScannedPickle>> {
    let head = source.read_vec(0, source.size().min(HEAD_BYTES as u64))?;
    if PyTorch.sniff(&head) {
        scan_zip(source)
    } else if Legacy.sniff(&head) {
        Ok(scan_legacy(source))
    } else if Tar.sniff(&head) {
        Ok(vec![scanned("tar archive", |permission| tar::open_with(source, permission).map(drop))])
    } else if FORMATS.iter().any(|f| f.sniff(&head)) {
        Ok(Vec::new())
    } else {
        Err(Error::format("the content is of no known format"))
    }
}

fn scan_zip(source: &Source) -> Result<Vec<ScannedPickle>> {
    let zip = Zip::open(source)?;
    let mut found = Vec::new();
    for record in zip.records() {
        if !record.name.ends_with(".pkl") && !record.name.ends_with(".pickle") {
            continue;
        }
        let place = crate::io::archive::display_name(&record.name);
        found.push(scanned(&place, |permission| {
            pickle::run(&zip.read(record, MAX_PICKLE_BYTES)?, permission).map(drop)
        }));
    }
    Ok(found)
}

fn scan_legacy(source: &Source) -> Vec<ScannedPickle> {
    let mut found = Vec::new();
    let mut at = 0;
    while found.len() < LEGACY_PICKLES && at < source.size() {
        let place = format!("byte {at}");
        let pickle = scanned(&place, |permission| {
            at = pickle::run_at(source, at, MAX_PICKLE_BYTES, permission)?.1;
            Ok(())
        });
        let failed = pickle.failure.is_some();
        found.push(pickle);
        if failed {
            break;
        }
    }
    found
}

/// Follows a pickle, allowing every name and keeping it.
fn scanned(place: &str, follow: impl FnOnce(&dyn Fn(&str) -> Permission) -> Result<()>) -> ScannedPickle {
    let seen = RefCell::new(BTreeMap::new());
    let failure = follow(&|name: &str| {
        seen.borrow_mut().entry(name.to_owned()).or_insert_with(|| Judgement::of(name));
        match name {
            "collections.OrderedDict" => Permission::Dict(DictKind::Ordered),
            "collections.Counter" => Permission::Dict(DictKind::Counter),
            "collections.defaultdict" => Permission::Dict(DictKind::Default),
            _ => Permission::Class,
        }
    })
    .err();
    let globals = seen.into_inner().into_iter();
    let globals = globals.map(|(name, judgement)| ScannedGlobal { name, judgement }).collect();
    ScannedPickle { place: place.to_owned(), globals, failure }
}

/// Modules and names that run code, start programs, or reach files or the network.
static DANGEROUS: &[&str] = &[
    "IPython",
    "_io",
    "_pickle",
    "_posixsubprocess",
    "_socket",
    "_thread",
    "_winapi",
    "asyncio",
    "atexit",
    "bdb",
    "builtins.__import__",
    "builtins.apply",
    "builtins.breakpoint",
    "builtins.compile",
    "builtins.delattr",
    "builtins.eval",
    "builtins.exec",
    "builtins.execfile",
    "builtins.file",
    "builtins.getattr",
    "builtins.globals",
    "builtins.input",
    "builtins.locals",
    "builtins.open",
    "builtins.setattr",
    "builtins.type",
    "builtins.vars",
    "cProfile",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "concurrent",
    "ctypes",
    "dill",
    "distutils",
    "doctest",
    "ensurepip",
    "fcntl",
    "fileinput",
    "ftplib",
    "functools",
    "http",
    "httpx",
    "imp",
    "importlib",
    "io",
    "joblib",
    "linecache",
    "logging",
    "marshal",
    "mmap",
    "msvcrt",
    "multiprocessing",
    "nt",
    "ntpath",
    "numpy.distutils",
    "numpy.f2py",
    "numpy.load",
    "numpy.testing",
    "operator",
    "os",
    "pandas.eval",
    "pandas.read_pickle",
    "pathlib",
    "pdb",
    "pickle",
    "pip",
    "pkgutil",
    "platform",
    "popen2",
    "posix",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "setuptools",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "telnetlib",
    "tempfile",
    "threading",
    "timeit",
    "torch._C",
    "torch._dynamo",
    "torch._inductor",
    "torch.compile",
    "torch.distributed",
    "torch.fx",
    "torch.hub",
    "torch.jit.load",
    "torch.load",
    "torch.ops",
    "torch.package",
    "torch.serialization.load",
    "torch.storage._load_from_bytes",
    "torch.utils.bottleneck",
    "torch.utils.collect_env",
    "torch.utils.cpp_extension",
    "torch.utils.data.datapipes",
    "trace",
    "types",
    "urllib",
    "uuid",
    "venv",
    "webbrowser",
    "winreg",
    "xmlrpc",
    "zipimport",
];
