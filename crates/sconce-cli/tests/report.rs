//! `sconce report`, and what is made from the table of commands.

mod common;

use common::{Folder, archive, push, sconce};
use sconce::io::Archive;

/// Whether every element that is opened is closed, in order.
fn balanced(html: &str) -> Result<(), String> {
    const ALONE: &[&str] = &["!DOCTYPE", "meta", "path"];
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split('>').next().ok_or("a tag has no end")?;
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(name) if open.pop() == Some(name) => {}
            Some(name) => return Err(format!("</{name}> closes nothing; open are {open:?}")),
            None if ALONE.contains(&name) => {}
            None => open.push(name),
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are not closed")) }
}

#[test]
fn the_page_is_whole_safe_and_says_what_is_odd() {
    let folder = Folder::new("report");
    let mut model = Archive::new();
    push(&mut model, "fc.weight", &[2, 2], &[0.0; 4]);
    push(&mut model, "fc.bias", &[3], &[-1.0, f32::NAN, 2.0]);
    push(&mut model, "<script>alert(\"1\")</script>&amp;", &[2], &[1.0, 2.0]);
    push(&mut model, "empty", &[0], &[]);
    model.set_metadata("<img src=x onerror=alert(1)>", "</dd><script>");
    let file = folder.save("<b>model.safetensors", &model);
    let page = folder.path("report.html");
    let page = page.to_str().unwrap();
    let output = sconce(&["report", &file, "-o", page]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("4 tensors, 2 oddities"), "{}", output.out);
    assert!(output.out.contains("error    NaN             fc.bias: 1 of 3 values are NaN"), "{}", output.out);
    let html = std::fs::read_to_string(page).unwrap();
    balanced(&html).unwrap();
    for absent in ["<script", "<img", "onerror=alert(1)>", "<b>model", "http://", "https://", "url("] {
        assert!(!html.contains(absent), "{absent}");
    }
    for present in [
        "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;",
        "name=\"viewport\"",
        "default-src 'none'",
        "<b>dead</b> <a href=\"#t",
        "<path class=\"bars\"",
        "[2, 2] · 4 values",
    ] {
        assert!(html.contains(present), "{present}");
    }
    let json = sconce(&["report", &file, "--json"]).json();
    assert_eq!((&json["anomalies"][0]["kind"], &json["tensors"]), (&"NaN".into(), &4.into()));
    let some = sconce(&["report", &file, "fc.*", "--json"]).json();
    assert_eq!(some["tensors"], 2);
}

#[test]
fn the_model_is_never_replaced_by_the_page() {
    let folder = Folder::new("report-bad");
    let file = folder.save("a.safetensors", &archive(&[("w", &[1.0])]));
    let before = std::fs::read(&file).unwrap();
    for arguments in [
        &["report", &file, "-o", &file][..],
        &["hist", &file, "--svg", &file],
        &["report", &file],
        &["report", &file, "-o", "/no/such/folder/a.html"],
        &["report", &file, "nothing", "-o", "/tmp/never.html"],
    ] {
        assert_eq!(sconce(arguments).code, 2, "{arguments:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn completions_and_pages_know_every_command() {
    let help = sconce(&["--help"]).out;
    let names: Vec<&str> = help
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| l.starts_with("  "))
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert!(names.contains(&"diff") && names.contains(&"man"), "{names:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = sconce(&["completions", shell]);
        assert_eq!(output.code, 0, "{}", output.err);
        assert!(names.iter().all(|name| output.out.contains(name)), "{shell}");
    }
    let page = sconce(&["man"]);
    assert!(page.code == 0 && page.out.contains(".TH sconce 1"), "{}", page.out);
    for name in names.iter().filter(|n| **n != "help") {
        let page = sconce(&["man", name]);
        assert!(page.code == 0 && page.out.contains(".SH OPTIONS"), "{name}: {}{}", page.out, page.err);
    }
    assert_eq!((sconce(&["completions", "none"]).code, sconce(&["man", "none"]).code), (2, 2));
}
