//! The fields of the active variant are visited; two variants may use one name.

use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
enum Head<T> {
    Linear(T),
    Split {
        left: T,
        #[module(rename = "right")]
        other: Leaf,
        #[module(skip)]
        ratio: f64,
    },
    Twice(Leaf, #[module(skip)] usize, T),
    Tied {
        left: T,
    },
    None,
    Empty {},
}

#[derive(Module)]
enum Never {}

fn names<M: Module>(mut module: M) -> Vec<String> {
    let mut names = Vec::new();
    module.fields(&mut |name, _| names.push(name.to_owned()));
    let mut again = Vec::new();
    module.fields_mut(&mut |name, _| again.push(name.to_owned()));
    assert_eq!(names, again);
    assert_eq!(module.type_name(), "Head");
    names
}

#[test]
fn the_fields_of_the_active_variant() {
    assert_eq!(names(Head::Linear(Leaf)), ["0"]);
    let split = Head::Split { left: Leaf, other: Leaf, ratio: 0.5 };
    assert!(matches!(split, Head::Split { ratio: 0.5, .. }));
    assert_eq!(names(split), ["left", "right"]);
    let twice = Head::Twice(Leaf, 2, Leaf);
    assert!(matches!(twice, Head::Twice(_, 2, _)));
    assert_eq!(names(twice), ["0", "2"]);
    assert_eq!(names(Head::Tied { left: Leaf }), ["left"]);
    assert!(names(Head::<Leaf>::None).is_empty());
    assert!(names(Head::<Leaf>::Empty {}).is_empty());
    assert!(None::<Never>.is_none());
}
