//! Pruning chooses what `torch.nn.utils.prune` chooses.

use sconce::compress::{Amount, Layout, Method, Prune, prune_archive, prune_tensors};
use sconce::io::{Archive, Entry};
use sconce::{DType, Result, Tensor};

/// Numbers of distinct magnitudes and both signs.
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| (((i * 7919 + seed * 31) % 10007) as f64 - 5003.0 + 0.25) / 1000.0)
        .map(|x| x as f32)
        .collect()
}

fn archive(shapes: &[&[usize]], seeds: &[usize], dtype: DType) -> Result<Archive> {
    let mut archive = Archive::new();
    for (i, (&shape, &seed)) in shapes.iter().zip(seeds).enumerate() {
        let x = Tensor::from_vec(values(shape.iter().product(), seed), shape)?.to(dtype)?;
        archive.push_bytes(Entry::new(format!("{i}.weight"), dtype, shape), x.to_bytes()?)?;
    }
    Ok(archive)
}

fn numbers(archive: &Archive, name: &str) -> Vec<f32> {
    let entry = archive.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    let bytes = archive.read(entry).expect("bytes");
    let x = Tensor::from_bytes(&bytes, entry.encoding().dtype().expect("a dtype"), entry.shape())
        .expect("a tensor");
    x.to(DType::F32).expect("numbers").to_vec().expect("numbers")
}

fn mask(archive: &Archive, name: &str) -> String {
    numbers(archive, name).iter().map(|&x| if x == 0.0 { '0' } else { '1' }).collect()
}

/// What PyTorch 2.13 keeps, element by element.
const L1: &str = "110011101111011110111001110011101111011110111001";

#[test]
fn masks_are_pytorchs() -> Result<()> {
    use Amount::{Count, Fraction};
    let matrix: &[usize] = &[6, 8];
    let cases: &[(Method, Amount, &[usize], usize, &str)] = &[
        (Method::L1Unstructured, Fraction(0.3), matrix, 1, L1),
        (Method::L1Unstructured, Count(5), matrix, 1, "111111101111011110111111111111101111011111111111"),
        (
            Method::RandomUnstructured { seed: 3 },
            Fraction(0.5),
            matrix,
            1,
            "111101000000101010000101111011101111011000010010",
        ),
        (
            Method::LnStructured { n: 2.0, dim: 0 },
            Fraction(0.5),
            matrix,
            1,
            "111111111111111100000000000000001111111100000000",
        ),
        (
            Method::LnStructured { n: 1.0, dim: 1 },
            Count(3),
            matrix,
            1,
            "101101101011011010110110101101101011011010110110",
        ),
        (
            Method::LnStructured { n: f64::INFINITY, dim: -1 },
            Count(2),
            matrix,
            1,
            "111101101111011011110110111101101111011011110110",
        ),
        (
            Method::RandomStructured { dim: 1, seed: 5 },
            Fraction(0.5),
            matrix,
            1,
            "101110001011100010111000101110001011100010111000",
        ),
        (
            Method::LnStructured { n: 2.0, dim: 1 },
            Count(1),
            &[4, 3, 2, 2],
            4,
            "111111110000111111110000111111110000111111110000",
        ),
    ];
    for &(method, amount, shape, seed, expected) in cases {
        let file = archive(&[shape], &[seed], DType::F32)?;
        let prune = Prune::new("**.weight", method, amount)?;
        let (pruned, report) = prune_archive(&file, &prune)?;
        assert_eq!(mask(&pruned, "0.weight"), expected, "{method:?} {amount:?}");
        let zeros = expected.matches('0').count() as u64;
        assert_eq!((report[0].pruned, report[0].zeros), (zeros, zeros), "{method:?}");

        let live = Tensor::from_vec(values(48, seed), shape)?;
        prune_tensors(&[("0.weight", &live)], &prune)?;
        assert_eq!(live.flatten(0, -1)?.to_vec::<f32>()?, numbers(&pruned, "0.weight"), "{method:?}");
    }
    let half = archive(&[matrix], &[1], DType::F16)?;
    let prune = Prune::new("**", Method::L1Unstructured, Fraction(0.3))?;
    assert_eq!(mask(&prune_archive(&half, &prune)?.0, "0.weight"), L1);
    Ok(())
}

#[test]
fn global_pruning_cuts_all_tensors_together() -> Result<()> {
    let file = archive(&[&[8, 6], &[5, 4]], &[1, 2], DType::F32)?;
    let cases = [
        (Method::L1Unstructured, "110011100111011100111001110011100110011100111001", "11001110011100110011"),
        (
            Method::RandomUnstructured { seed: 9 },
            "111000101101111111110000110001100001110101011010",
            "01010011111011101111",
        ),
    ];
    for (method, first, second) in cases {
        let prune = Prune::new("**", method, Amount::Fraction(0.4))?.global()?;
        let (pruned, _) = prune_archive(&file, &prune)?;
        assert_eq!((mask(&pruned, "0.weight"), mask(&pruned, "1.weight")), (first.into(), second.into()));
    }
    let double = archive(&[&[5, 4]], &[2], DType::F64)?;
    let mut both = archive(&[&[8, 6]], &[1], DType::F32)?;
    both.push_bytes(Entry::new("1.weight", DType::F64, [5, 4]), double.read(&double.entries()[0])?)?;
    let prune = Prune::new("**", Method::L1Unstructured, Amount::Fraction(0.4))?.global()?;
    let pruned = prune_archive(&both, &prune)?.0;
    assert_eq!(
        (mask(&pruned, "0.weight"), mask(&pruned, "1.weight")),
        (cases[0].1.into(), cases[0].2.into())
    );
    Ok(())
}

#[test]
fn masks_may_be_written_as_pytorch_does() -> Result<()> {
    let file = archive(&[&[8, 6], &[5, 4]], &[1, 2], DType::F16)?;
    let prune = Prune::new("0.*", Method::L1Unstructured, Amount::Fraction(0.3))?.with_layout(Layout::Mask);
    let (pruned, report) = prune_archive(&file, &prune)?;
    let names: Vec<&str> = pruned.entries().iter().map(Entry::name).collect();
    assert_eq!(names, ["0.weight_orig", "0.weight_mask", "1.weight"]);
    assert_eq!(numbers(&pruned, "0.weight_orig"), numbers(&file, "0.weight"));
    let mask = numbers(&pruned, "0.weight_mask");
    let text: String = mask.iter().map(|x| x.to_string()).collect();
    assert_eq!((text.as_str(), report[0].pruned), (L1, 14));
    assert_eq!(pruned.entries()[1].encoding().name(), "float16");
    Ok(())
}

#[test]
fn patterns_keep_the_greatest_of_neighbours() -> Result<()> {
    let mut file = Archive::new();
    let x = [1.0_f32, -3.0, 2.0, 0.5, 0.0, 0.0, 0.0, 7.0, 5.0, 5.0, 5.0, 5.0, -1.0, -2.0, -3.0, f32::NAN];
    file.push_bytes(Entry::new("w", DType::F32, [2, 8]), x.map(f32::to_le_bytes).concat())?;
    let pattern = |keep, of, dim| Prune::new("w", Method::NOfM { keep, of, dim }, Amount::Count(0));
    let (pruned, report) = prune_archive(&file, &pattern(2, 4, 1)?)?;
    assert_eq!(mask(&pruned, "w"), "0110000111000011");
    assert_eq!((report[0].pruned, report[0].zeros, report[0].numel()), (8, 9, 16));
    assert_eq!(mask(&prune_archive(&file, &pattern(1, 2, 0)?)?.0, "w"), "0000000011111111");
    Ok(())
}

#[test]
fn many_chunks_and_ties_are_cut_where_they_should() -> Result<()> {
    let n = 700_000;
    let x: Vec<u8> = (0..n).flat_map(|i| ((i % 10) as f32).to_le_bytes()).collect();
    let mut file = Archive::new();
    file.push_bytes(Entry::new("w", DType::F32, [n]), x)?;
    let prune = Prune::new("w", Method::L1Unstructured, Amount::Count(n / 10 * 3 + 7))?;
    let (pruned, report) = prune_archive(&file, &prune)?;
    let out = numbers(&pruned, "w");
    assert_eq!((report[0].pruned, report[0].zeros), (210_007, 210_007));
    assert_eq!(out.iter().filter(|x| **x == 0.0).count(), 210_007);
    assert_eq!((out[63], out[73], out[60..63].iter().sum::<f32>()), (0.0, 3.0, 0.0));
    Ok(())
}

#[test]
fn what_cannot_be_pruned_is_refused() -> Result<()> {
    let file = archive(&[&[8, 6], &[6]], &[1, 1], DType::F32)?;
    let ln = |dim| Method::LnStructured { n: 2.0, dim };
    let cases = [
        ("**", ln(0), Amount::Count(1), "1.weight: slices of a tensor of shape [6]"),
        ("0.*", ln(2), Amount::Count(1), "0.weight: dimension 2 of a tensor of shape [8, 6]"),
        ("0.*", ln(0), Amount::Count(9), "0.weight: cannot prune 9 of 8"),
        ("0.*", Method::NOfM { keep: 2, of: 4, dim: 1 }, Amount::Count(0), "2:4 needs a multiple of 4"),
        ("2.*", Method::L1Unstructured, Amount::Count(0), "matches none of 2 names"),
    ];
    for (selector, method, amount, why) in cases {
        let error = prune_archive(&file, &Prune::new(selector, method, amount)?).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(Prune::new("**", Method::L1Unstructured, Amount::Fraction(1.5)).is_err());
    assert!(Prune::new("**", ln(0), Amount::Count(1))?.global().is_err());
    Ok(())
}
