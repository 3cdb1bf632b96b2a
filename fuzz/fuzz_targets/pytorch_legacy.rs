#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sconce_fuzz::exercise(data.to_vec()));
