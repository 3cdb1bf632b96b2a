//! The page of `sconce report` in a real browser, as wide as a phone. Skipped, and said so, where there is no Chromium.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Folder, push, sconce};
use sconce::io::Archive;

/// The width of a phone's screen.
const PHONE: u32 = 390;

/// The first Chromium on the path, under the names that systems give it.
fn browser() -> Option<PathBuf> {
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
        "chrome-headless-shell",
    ];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |f| f.join(name))).find(|path| path.is_file())
}

/// A page that frames the report and replaces itself by what it measures there.
fn probe(width: u32) -> String {
    format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><body><iframe src=\"report.html\" width=\"{width}\" height=\"800\"></iframe>
<script>
const frame = document.querySelector('iframe');
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const all = selector => [...page.querySelectorAll(selector)];
  const beyond = all('body *').filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
  const small = all('p, li, td, dd, h3').filter(e => parseFloat(frame.contentWindow.getComputedStyle(e).fontSize) < 12);
  document.body.textContent = JSON.stringify({{
    width: root.clientWidth, scroll: root.scrollWidth,
    beyond: beyond.map(e => e.outerHTML.slice(0, 80)), small: small.length,
    sections: all('section').length, charts: all('section svg').filter(e => e.getBoundingClientRect().height > 40).length,
    links: all('a').length, dangling: all('a').filter(a => !page.querySelector(a.getAttribute('href'))).length,
    first: all('.odd li')[0].textContent,
  }});
}};
</script></body>"
    )
}

#[test]
fn the_report_is_readable_on_a_phone() {
    let Some(browser) = browser() else {
        println!("skipped: no Chromium is on the path");
        return;
    };
    let folder = Folder::new("browser");
    let mut model = Archive::new();
    let wave: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.7).sin()).collect();
    push(
        &mut model,
        "model.layers.0.self_attention.query_key_value.dense_projection.weight",
        &[64, 64],
        &wave,
    );
    push(&mut model, &"a_name_without_any_place_to_break_".repeat(8), &[64, 64], &wave);
    push(&mut model, "fc.bias", &[3], &[-1.0, f32::NAN, 2.0]);
    push(&mut model, "dead", &[2, 1, 3, 4, 5, 1, 1, 1, 1, 1], &[0.0; 120]);
    push(&mut model, "empty", &[0], &[]);
    model.set_metadata("a_long_key_without_any_place_to_break_it_in_two_or_more_lines", "x".repeat(500));
    let file =
        folder.save("a_rather_long_name_of_a_file_that_holds_a_model-00001-of-00001.safetensors", &model);
    let page = folder.path("report.html");
    let output = sconce(&["report", &file, "--spectra", "-o", page.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}", output.err);
    std::fs::write(folder.path("probe.html"), probe(PHONE)).unwrap();
    let run = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--virtual-time-budget=10000",
        ])
        .arg(format!("--user-data-dir={}", folder.path("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", folder.path("probe.html").display()))
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&run.stdout);
    let found =
        dom.split_once("<body>").and_then(|(_, rest)| rest.split_once("</body>")).map(|(body, _)| body);
    let text = found.unwrap_or_default().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let found: serde_json::Value = serde_json::from_str(text.trim())
        .unwrap_or_else(|e| panic!("{e}: {dom}\n{}", String::from_utf8_lossy(&run.stderr)));
    let number = |key: &str| found[key].as_u64().unwrap_or_else(|| panic!("{key}: {found}"));
    assert!(number("scroll") <= number("width") && number("width") <= PHONE.into(), "{found}");
    assert!(found["beyond"].as_array().is_some_and(Vec::is_empty), "{found}");
    assert_eq!((number("small"), number("sections"), number("dangling")), (0, 5, 0), "{found}");
    assert!(number("charts") >= 4 && number("links") >= 2, "{found}");
    assert!(found["first"].as_str().is_some_and(|t| t.starts_with("NaN fc.bias: 1 of 3")), "{found}");
}
