//! Selections of a live model in files.

use sconce::Result;
use sconce::io;
use sconce::nn::{BatchNorm1d, Linear, Param, StateDict, init};
use sconce::prelude::*;

#[derive(Module)]
struct Net {
    fc: Linear,
    norm: BatchNorm1d,
    #[module(rename = "a,b")]
    odd: Param,
}

fn net() -> Result<Net> {
    let net = Net {
        fc: Linear::new(2, 3)?,
        norm: BatchNorm1d::new(3)?,
        odd: Param::new(&Tensor::from_vec(vec![0.1f64, -2.0], [2, 1])?)?,
    };
    init::constant_(&net.fc.weight, 0.5)?;
    Ok(net)
}

#[test]
fn selections_are_written_by_extension() -> Result<()> {
    let net = net()?;
    let folder = std::env::temp_dir().join(format!("sconce-export-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (selector, file, names) in [
        ("fc.*", "fc.pt", &["fc.weight", "fc.bias"][..]),
        ("**.running_*", "running.safetensors", &["norm.running_mean", "norm.running_var"]),
        (
            "** & ndim==1",
            "vectors.npz",
            &["fc.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"],
        ),
        ("fc.weight", "weight.npy", &["weight"]),
    ] {
        let path = folder.join(file);
        assert!(net.export(selector, &path)?.names().len() == names.len());
        let read: StateDict = io::load(&path)?;
        if !file.ends_with(".npy") {
            assert_eq!(read.names().collect::<Vec<_>>(), names, "{file}");
        }
        let written = net.selected_state(selector)?;
        for ((name, written), (_, read)) in written.iter().zip(read.iter()) {
            assert!(written.equal(read)?, "{file}: {name}");
        }
    }
    let path = folder.join("a.csv");
    net.export("'a,b' | fc.weight | norm.num_batches_tracked", &path)?;
    assert_eq!(
        std::fs::read_to_string(&path)?,
        "name,index,value\n\"a,b\",0 0,0.1\n\"a,b\",1 0,-2\nfc.weight,0 0,0.5\nfc.weight,0 1,0.5\nfc.weight,1 0,0.5\n\
         fc.weight,1 1,0.5\nfc.weight,2 0,0.5\nfc.weight,2 1,0.5\nnorm.num_batches_tracked,,0\n"
    );
    let path = folder.join("a.json");
    net.export("'a,b' | fc.weight | norm.num_batches_tracked", &path)?;
    let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "a,b": {"dtype": "float64", "shape": [2, 1], "data": [0.1, -2]},
            "fc.weight": {"dtype": "float32", "shape": [3, 2], "data": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]},
            "norm.num_batches_tracked": {"dtype": "int64", "shape": [], "data": [0]},
        })
    );

    for (value, text) in [(f64::NAN, "nan"), (f64::NEG_INFINITY, "-inf")] {
        init::constant_(&net.fc.weight, value)?;
        net.export("fc.weight", &path)?;
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?).unwrap();
        assert_eq!(read["fc.weight"]["data"], serde_json::json!(vec![text; 6]));
    }
    for (selector, file, expected) in [
        ("fc.*", "bad.npy", ""),
        ("fc.*", "bad.txt", "no format has the extension `txt`"),
        ("fc", "bad.csv", "selector `fc` matches none of 8 names; for all below `fc` write `fc.**`"),
    ] {
        let path = folder.join(file);
        let error = net.export(selector, &path).unwrap_err().to_string();
        assert!(error.contains(expected), "{file}: {error}");
        assert!(!path.exists(), "{file}");
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn values_survive_the_text() -> Result<()> {
    let path = std::env::temp_dir().join(format!("sconce-export-values-{}.json", std::process::id()));
    let x = Tensor::randn([7, 2, 3], DType::F32)?;
    let values = Param::new(&x.mul(1e-20)?)?;
    vec![values.clone()].export("**", &path)?;
    let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?).unwrap();
    let data = read["0"]["data"].as_array().unwrap();
    let flat: Vec<f32> = data.iter().map(|x| x.to_string().parse().unwrap()).collect();
    assert_eq!(flat, values.to_vec::<f32>()?);
    std::fs::remove_file(path)?;
    Ok(())
}
