//! The language of selectors: what each matches, and what each mistake says.

use sconce::select::{Candidate, Kind, Numbers, Selector, dtype, kind, ndim, numel, path, trainable};
use sconce::{DType, ErrorKind};

/// Path, kind, dtype, shape, trainable.
type Row = (&'static str, Kind, DType, &'static [usize], bool);

const MODEL: &[Row] = &[
    ("fc1.weight", Kind::Param, DType::F32, &[3, 4], true),
    ("fc1.bias", Kind::Param, DType::F32, &[3], true),
    ("features.0.weight", Kind::Param, DType::F32, &[8, 1, 3, 3], false),
    ("features.0.bias", Kind::Param, DType::F32, &[8], false),
    ("features.1.weight", Kind::Param, DType::F32, &[8], true),
    ("features.1.running_mean", Kind::Buffer, DType::F32, &[8], false),
    ("features.10.weight", Kind::Param, DType::F16, &[40, 40], true),
    ("scale", Kind::Param, DType::F64, &[], true),
    ("trainable", Kind::Param, DType::F64, &[1], true),
    ("odd/na me (1)", Kind::Param, DType::F32, &[2], true),
];

fn candidates() -> impl Iterator<Item = Candidate<'static>> {
    MODEL.iter().map(|&(path, kind, dtype, shape, trainable)| Candidate {
        path,
        kind: Some(kind),
        dtype,
        shape,
        trainable: Some(trainable),
    })
}

fn picks(selector: &str) -> String {
    match Selector::parse(selector).and_then(|s| s.select(candidates())) {
        Ok(selection) => selection.names().join(" "),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Selector);
            format!("error: {error}")
        }
    }
}

#[test]
fn picks_what_the_table_says() {
    let table = [
        // The examples of the documentation.
        ("fc1.weight", "fc1.weight"),
        ("*.weight", "fc1.weight"),
        ("**.bias", "fc1.bias features.0.bias"),
        (
            "features.**",
            "features.0.weight features.0.bias features.1.weight features.1.running_mean features.10.weight",
        ),
        ("features.[02].*", "features.0.weight features.0.bias"),
        ("{fc1,features.*}.bias", "fc1.bias features.0.bias"),
        (
            "features.** & !**.bias",
            "features.0.weight features.1.weight features.1.running_mean features.10.weight",
        ),
        (
            "** & ndim==1",
            "fc1.bias features.0.bias features.1.weight features.1.running_mean trainable odd/na me (1)",
        ),
        ("**.weight & (ndim==4 | ndim==2)", "fc1.weight features.0.weight features.10.weight"),
        ("** & dtype==float16 & numel>1000", "features.10.weight"),
        ("kind==buffer", "features.1.running_mean"),
        ("!trainable", "features.0.weight features.0.bias features.1.running_mean"),
        ("'odd/na me (1)'", "odd/na me (1)"),
        // Whole segments.
        ("features.1.*", "features.1.weight features.1.running_mean"),
        ("features.1*.weight", "features.1.weight features.10.weight"),
        ("features.1?.weight", "features.10.weight"),
        ("features.[!1].*", "features.0.weight features.0.bias"),
        ("features.[0-9].weight", "features.0.weight features.1.weight"),
        ("*", "scale trainable odd/na me (1)"),
        ("s*e", "scale"),
        ("**.*.weight", "fc1.weight features.0.weight features.1.weight features.10.weight"),
        ("features.**.weight", "features.0.weight features.1.weight features.10.weight"),
        ("**.features.1.**", "features.1.weight features.1.running_mean"),
        ("**.**.scale", "scale"),
        ("scale.**", "scale"),
        (
            "f{c1,eatures.{0,1}}.{weight,bias}",
            "fc1.weight fc1.bias features.0.weight features.0.bias features.1.weight",
        ),
        ("odd/*", "odd/na me (1)"),
        ("\"scale\"", "scale"),
        ("'sca'l?", "scale"),
        ("'trainable'", "trainable"),
        // Predicates and operators.
        ("numel==1", "scale trainable"),
        ("rank==0", "scale"),
        ("ndim<1|ndim>=4", "features.0.weight scale"),
        ("numel<=2 & numel!=1", "odd/na me (1)"),
        ("numel >= 1_600", "features.10.weight"),
        ("dtype!=float32 & !dtype==float64", "features.10.weight"),
        ("kind!=param", "features.1.running_mean"),
        ("scale | fc1.bias & ndim==1", "fc1.bias scale"),
        ("(scale | fc1.bias) & ndim==1", "fc1.bias"),
        ("!!scale", "scale"),
        ("!(**.weight | **.bias | kind==buffer) & trainable", "scale trainable odd/na me (1)"),
    ];
    for (selector, names) in table {
        assert_eq!(picks(selector), names, "{selector}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let table = [
        ("", "expected a pattern or a predicate, found the end at column 1"),
        ("a &", "expected a pattern or a predicate, found the end at column 4"),
        ("& a", "expected a pattern or a predicate, found `&` at column 1"),
        ("(a", "expected `)`, found the end at column 3"),
        ("a)", "expected `&`, `|` or the end, found `)` at column 2"),
        ("a b", "expected `&`, `|` or the end, found `b` at column 3"),
        ("ndim=1", "expected `==`, found `=` at column 5"),
        ("ndim", "expected a comparison after `ndim`, found the end at column 5"),
        ("ndim==", "expected a number, found the end at column 7"),
        ("ndim==x", "expected a whole number, found `x` at column 7"),
        ("numel>-1", "expected a whole number, found `-1` at column 7"),
        ("numel>99999999999999999999", "expected a whole number, found `99999999999999999999` at column 7"),
        ("dtpe==float32", "unknown predicate `dtpe`; did you mean `dtype`? at column 1"),
        ("dtype==flaot16", "unknown dtype `flaot16`; did you mean `float16`? at column 8"),
        ("dtype<float16", "`dtype` takes `==` or `!=`, found `<` at column 6"),
        ("kind==weight", "unknown kind `weight` at column 7"),
        ("a..b", "an empty segment at column 3"),
        (".a", "an empty segment at column 1"),
        ("a.", "an empty segment at column 3"),
        ("x | a**", "`**` must be a whole segment at column 6"),
        ("**a", "`**` must be a whole segment at column 1"),
        ("{**.a,b}", "`**` within braces at column 2"),
        ("{a,b", "a `{` without `}` at column 1"),
        ("a}", "a `}` without `{` at column 2"),
        ("a.[0-", "a `[` without `]` at column 3"),
        ("a.[]", "an empty set `[]` at column 3"),
        ("a.[9-0]", "the range `9-0` runs backwards at column 4"),
        ("'a", "a ' without its end at column 1"),
    ];
    for (selector, message) in table {
        let error = Selector::parse(selector).unwrap_err();
        assert_eq!(error.to_string(), format!("selector `{selector}`: {message}"));
    }
}

#[test]
fn nothing_picked_is_an_error_that_helps() {
    let table = [
        ("fc1", "; for all below `fc1` write `fc1.**`"),
        ("fc1.wieght", "; did you mean `fc1.weight`?"),
        ("**.running_maen", "; did you mean `features.1.running_mean`?"),
        ("**.bias & ndim==7", "; each part matches something, but no name matches all"),
        ("embedding", ""),
    ];
    for (selector, hint) in table {
        assert_eq!(picks(selector), format!("error: selector `{selector}` matches none of 10 names{hint}"));
    }
    let none = Selector::parse("**").unwrap().select([]).unwrap_err();
    assert_eq!(none.to_string(), "selector `**` matches none of 0 names");
}

#[test]
fn unknown_properties_are_errors() {
    let file = Candidate { path: "w", kind: None, dtype: DType::F32, shape: &[2], trainable: None };
    for (selector, message) in [
        ("kind==param", "selector `kind==param`: the kind of `w` is not known here"),
        ("!trainable", "selector `!trainable`: the `trainable` property of `w` is not known here"),
    ] {
        assert_eq!(Selector::parse(selector).unwrap().matches(&file).unwrap_err().to_string(), message);
    }
    // What comes before may settle it.
    assert!(!Selector::parse("v & trainable").unwrap().matches(&file).unwrap());
}

#[test]
fn hostile_text_is_refused() {
    let deep = [
        "(".repeat(100_000),
        "!".repeat(100_000) + "a",
        "(".repeat(65) + "a" + &")".repeat(65),
        "{".repeat(1000) + "a" + &"}".repeat(1000),
        "a".repeat(100_000),
        "{a,[0-9]}".repeat(7_000),
    ];
    for text in deep {
        assert_eq!(Selector::parse(&text).unwrap_err().kind(), ErrorKind::Selector);
    }
    assert!(Selector::parse(&("(".repeat(64) + "a" + &")".repeat(64))).is_ok());
    // No pattern takes more than linear time.
    let stars = Selector::parse(&("*a".repeat(50) + "b")).unwrap();
    let path = "a".repeat(10_000);
    let long = Candidate { path: &path, kind: None, dtype: DType::F32, shape: &[], trainable: None };
    assert!(!stars.matches(&long).unwrap());
}

#[test]
fn prints_its_normal_form() {
    for (text, normal) in [
        ("a|b&c", "a | b & c"),
        ("(a|b)&c", "(a | b) & c"),
        ("a&(b&c)", "a & (b & c)"),
        ("((a))", "a"),
        ("!(a&b)|!c", "!(a & b) | !c"),
        ("rank>=2", "ndim>=2"),
        ("dtype!=bfloat16", "!dtype==bfloat16"),
        ("kind!=param", "!kind==param"),
        ("'a b'.c", "'a b'.c"),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.to_string(), normal);
        assert_eq!(Selector::parse(normal).unwrap().to_string(), normal);
    }
}

#[test]
fn functions_build_the_same() {
    fn numbers(n: impl Numbers) -> String {
        ndim(n).build().unwrap().to_string()
    }
    assert_eq!(numbers(1), "ndim==1");
    assert_eq!(numbers(2..), "ndim>=2");
    assert_eq!(numbers(2..4), "ndim>=2 & ndim<4");
    assert_eq!(numbers(2..=4), "ndim>=2 & ndim<=4");
    assert_eq!(numbers(..4), "ndim<4");
    assert_eq!(numbers(..=4), "ndim<=4");
    let built =
        path("**.weight").and(dtype(DType::F32).or(numel(10))).and(kind(Kind::Param).not()).or(trainable());
    assert_eq!(
        built.build().unwrap().to_string(),
        "**.weight & (dtype==float32 | numel==10) & !kind==param | trainable"
    );
    let error = path("a..b").and("c").build().unwrap_err();
    assert_eq!(error.to_string(), "pattern `a..b`: an empty segment at column 3");
    assert!(path("a").and("(").build().is_err());
}
