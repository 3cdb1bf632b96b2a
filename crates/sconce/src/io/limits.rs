//! Every bound on what a file may make the reader do, in one place.
//!
//! A file is hostile until it is checked. Memory is proportional to the file: a size that a file only *declares* is
//! compared with the bytes that are there before anything is allocated. The constants below bound the rest.

/// Bytes of the start of a file that [`Format::sniff`](super::Format::sniff) sees.
pub const HEAD_BYTES: usize = 4096;

/// Dimensions of a tensor.
pub const MAX_DIMS: usize = 64;

/// Bytes of a safetensors header; the reference implementation's limit.
pub const MAX_JSON_HEADER_BYTES: u64 = 100_000_000;

/// Bytes that one tensor may take in memory beyond what its storage holds.
///
/// Zero strides make a tensor of any size out of one element; reading such a tensor stops here.
pub const MAX_EXPANDED_BYTES: u64 = 1 << 30;

/// Bytes of one decompressed zip record.
pub const MAX_INFLATED_BYTES: u64 = 1 << 30;

/// How many times larger than its compressed bytes a deflate stream can be; a larger claim is a lie.
pub const MAX_INFLATE_RATIO: u64 = 1032;

/// Records in a zip archive.
pub const MAX_ZIP_RECORDS: u64 = 1 << 22;

/// Bytes of a zip archive's central directory.
pub const MAX_ZIP_DIRECTORY_BYTES: u64 = 1 << 28;

/// Bytes of one pickle.
pub const MAX_PICKLE_BYTES: u64 = 1 << 28;

/// How many times larger than its file a pickle may be, from [`MIN_PICKLE_LIMIT`] on: it can be compressed, and what
/// it describes takes many times its size.
pub const MAX_PICKLE_RATIO: u64 = 64;

/// Bytes that a pickle may always have.
pub const MIN_PICKLE_LIMIT: u64 = 1 << 20;

/// Objects that one pickle may create, each use and memo entry counted too. A saved tensor counts about 60.
pub const MAX_PICKLE_OBJECTS: usize = 1 << 24;

/// Bytes of one integer in a pickle.
pub const MAX_PICKLE_INT_BYTES: usize = 1 << 10;

/// Nested tensor constructors: a parameter around a subclass around a tensor is three.
pub const MAX_REBUILD_DEPTH: usize = 8;

/// Steps, per value of a nested structure, of the walk that gives tensors their names.
///
/// Containers that share parts have more paths than values; 40 lists that each hold the next one twice have 2⁴⁰.
pub const MAX_STEPS_PER_VALUE: usize = 64;

/// Bytes of a tensor's name.
pub const MAX_NAME_BYTES: usize = 1 << 12;

/// Bytes of all the names of a file together.
pub const MAX_NAMES_BYTES: usize = 1 << 26;

/// Members of a tar archive.
pub const MAX_TAR_MEMBERS: usize = 1 << 10;

/// Bytes of a GGUF file's metadata. They are kept in memory, each value also as a text.
pub const MAX_GGUF_METADATA_BYTES: u64 = 1 << 28;

/// Bytes of the header of an npy file, which NumPy keeps under a few hundred.
pub const MAX_NPY_HEADER_BYTES: u64 = 1 << 16;

/// Messages within each other in an ONNX model: three for each subgraph. Protocol buffers' own limit.
pub const MAX_ONNX_DEPTH: usize = 100;

/// Tensors of an ONNX model.
pub const MAX_ONNX_TENSORS: usize = 1 << 20;

/// Places over which an ONNX tensor's elements may be spread when they are numbers or texts of the message.
pub const MAX_ONNX_PLACES: usize = 1 << 20;

/// Scales and zero points of the tensors of one file that are quantised by channel: they are read with the header.
pub const MAX_QUANTIZER_NUMBERS: usize = 1 << 22;

/// Bytes that the tensors of a GGUF file may be aligned to; the usual number is 32.
pub const MAX_GGUF_ALIGNMENT: u32 = 1 << 20;
