//! The names that a checkpoint's pickle may use, and what each is good for.

use crate::io::encoding::{Encoding, Packed};
use crate::io::format::Objects;
use crate::io::pickle::Permission;
use crate::io::tree::DictKind;
use crate::tensor::dtype::DType;

/// The full names of the functions and classes whose calls are understood.
static FUNCTIONS: &[&str] = &[
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.complex",
    "builtins.frozenset",
    "builtins.set",
    "torch.Size",
    "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_wrapper_subclass",
    "torch.device",
    "torch.nn.parameter.Buffer",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
];

/// The same, of TorchScript's own pickles.
static SCRIPT_FUNCTIONS: &[&str] = &[
    "torch.jit._pickle.build_boollist",
    "torch.jit._pickle.build_doublelist",
    "torch.jit._pickle.build_intlist",
    "torch.jit._pickle.build_tensorlist",
    "torch.jit._pickle.restore_type_tag",
];

/// NumPy's, under the names of both of its generations; the array's state follows the call.
static NUMPY_CLASSES: &[&str] =
    &["numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct", "numpy.dtype"];

static NUMPY_FUNCTIONS: &[&str] = &["numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"];

/// Constants that are neither dtypes nor storages.
static CONSTANTS: &[&str] = &[
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "numpy.ndarray",
    "torch.Tensor",
    "torch.channels_last",
    "torch.channels_last_3d",
    "torch.contiguous_format",
    "torch.per_channel_affine",
    "torch.per_channel_affine_float_qparams",
    "torch.per_channel_symmetric",
    "torch.per_tensor_affine",
    "torch.per_tensor_symmetric",
    "torch.preserve_format",
    "torch.sparse_bsc",
    "torch.sparse_bsr",
    "torch.sparse_coo",
    "torch.sparse_csc",
    "torch.sparse_csr",
    "torch.strided",
];

const fn packed(name: &'static str, elements: u32, bytes: u32) -> Encoding {
    Encoding::Packed(Packed { name, elements, bytes })
}

/// Storage classes and the elements they hold.
static STORAGES: &[(&str, Encoding)] = &[
    ("DoubleStorage", Encoding::Plain(DType::F64)),
    ("FloatStorage", Encoding::Plain(DType::F32)),
    ("HalfStorage", Encoding::Plain(DType::F16)),
    ("BFloat16Storage", Encoding::Plain(DType::BF16)),
    ("LongStorage", Encoding::Plain(DType::I64)),
    ("IntStorage", Encoding::Plain(DType::I32)),
    ("ShortStorage", Encoding::Plain(DType::I16)),
    ("CharStorage", Encoding::Plain(DType::I8)),
    ("ByteStorage", Encoding::Plain(DType::U8)),
    ("BoolStorage", Encoding::Plain(DType::Bool)),
    ("ComplexFloatStorage", Encoding::Plain(DType::C64)),
    ("ComplexDoubleStorage", Encoding::Plain(DType::C128)),
    ("QInt8Storage", packed("qint8", 1, 1)),
    ("QUInt8Storage", packed("quint8", 1, 1)),
    ("QInt32Storage", packed("qint32", 1, 4)),
    ("QUInt4x2Storage", packed("quint4x2", 2, 1)),
    ("QUInt2x4Storage", packed("quint2x4", 4, 1)),
];

/// Further dtypes that may stand as values: names of PyTorch that no storage here has.
static OTHER_DTYPES: &[&str] = &[
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "bits8",
    "float4_e2m1fn_x2",
    "int1",
    "int2",
    "int3",
    "int4",
    "int5",
    "int6",
    "int7",
    "qint32",
    "qint8",
    "quint2x4",
    "quint4x2",
    "quint8",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint5",
    "uint6",
    "uint7",
];

/// What a name may be used for. `script` says that the file is a TorchScript archive.
pub(super) fn permission(name: &str, objects: Objects, script: bool) -> Permission {
    match name {
        "collections.OrderedDict" => return Permission::Dict(DictKind::Ordered),
        "collections.Counter" => return Permission::Dict(DictKind::Counter),
        "collections.defaultdict" => return Permission::Dict(DictKind::Default),
        _ => {}
    }
    let listed = |list: &[&str]| list.contains(&name);
    if listed(FUNCTIONS) || listed(NUMPY_FUNCTIONS) || (script && listed(SCRIPT_FUNCTIONS)) {
        Permission::Function
    } else if listed(NUMPY_CLASSES) {
        Permission::Class
    } else if listed(CONSTANTS) || dtype(name).is_some() || storage(name).is_some() {
        Permission::Constant
    } else if script && name.starts_with("__torch__.") || is_module(name) || objects == Objects::Any {
        Permission::Class
    } else {
        Permission::Refused
    }
}

/// Whether a name is a class of PyTorch's own modules, such as `torch.nn.modules.conv.Conv2d`.
fn is_module(name: &str) -> bool {
    let class = name.rsplit('.').next().unwrap_or_default();
    name.starts_with("torch.nn.modules.") && class.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The name of the dtype that a global is.
pub(super) fn dtype(name: &str) -> Option<&str> {
    let name = name.strip_prefix("torch.")?;
    (DType::from_name(name).is_some() || OTHER_DTYPES.contains(&name)).then_some(name)
}

/// What the elements of a tensor of that dtype are. Those that the library has no dtype for are only listed and copied.
pub(super) fn encoding(name: &str) -> Option<Encoding> {
    let name = dtype(name)?;
    let stored = || STORAGES.iter().map(|(_, encoding)| *encoding).find(|e| e.name() == name);
    let other = || {
        let bytes = if name == "bits16" { 2 } else { 1 };
        OTHER_DTYPES.iter().find(|other| **other == name).map(|other| packed(other, 1, bytes))
    };
    DType::from_name(name).map(Encoding::Plain).or_else(stored).or_else(other)
}

/// What a storage class holds.
pub(super) fn storage(name: &str) -> Option<Storage> {
    if matches!(name, "torch.storage.UntypedStorage" | "torch.UntypedStorage") {
        return Some(Storage::Untyped);
    }
    let class = name.strip_prefix("torch.cuda.").or(name.strip_prefix("torch."))?;
    STORAGES.iter().find(|(known, _)| *known == class).map(|&(_, encoding)| Storage::Typed(encoding))
}

/// What a storage class says about the storage's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Bytes; the tensor says what they are.
    Untyped,
    /// Elements.
    Typed(Encoding),
}
