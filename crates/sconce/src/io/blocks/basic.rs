//! Blocks of 32 numbers with one scale, and perhaps a smallest value.

use half::f16;

use super::half_at;

/// The greatest magnitude that every one of these blocks can hold: all scales stay below half precision's limit.
pub(super) const LARGEST: f32 = 65504.0;

/// The nibbles of 16 bytes in the numbers' order: the low ones first, then the high ones.
pub(super) fn nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (j, &b) in bytes[..16].iter().enumerate() {
        out[j] = b & 0xf;
        out[j + 16] = b >> 4;
    }
    out
}

/// Numbers of five bits: nibbles, and a word of fifth bits.
fn fives(high: &[u8], low: &[u8]) -> [u8; 32] {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let mut out = nibbles(low);
    for (j, q) in out.iter_mut().enumerate() {
        *q |= ((high >> j & 1) as u8) << 4;
    }
    out
}

pub(super) fn decode_q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (y, q) in out.iter_mut().zip(nibbles(&block[2..])) {
        *y = f32::from(q as i8 - 8) * d;
    }
}

pub(super) fn decode_q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (y, q) in out.iter_mut().zip(nibbles(&block[4..])) {
        *y = f32::from(q) * d + m;
    }
}

pub(super) fn decode_q5_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (y, q) in out.iter_mut().zip(fives(&block[2..], &block[6..])) {
        *y = f32::from(q as i8 - 16) * d;
    }
}

pub(super) fn decode_q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (y, q) in out.iter_mut().zip(fives(&block[4..], &block[8..])) {
        *y = f32::from(q) * d + m;
    }
}

pub(super) fn decode_q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (y, &q) in out.iter_mut().zip(&block[2..]) {
        *y = f32::from(q as i8) * d;
    }
}

/// As `Q8_0`, with the sum of the numbers between the scale and them.
pub(super) fn decode_q8_1(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (y, &q) in out.iter_mut().zip(&block[4..]) {
        *y = f32::from(q as i8) * d;
    }
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The number of the greatest magnitude, with its sign; the first of several.
fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max: f32, &x| if x.abs() > max.abs() { x } else { max })
}

fn bounds(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::MAX, f32::MIN), |(min, max), &x| (min.min(x), max.max(x)))
}

fn put_half(block: &mut [u8], at: usize, x: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(x).to_le_bytes());
}

/// Writes the low four bits of each number.
fn put_nibbles(out: &mut [u8], q: &[u8; 32]) {
    for (j, byte) in out[..16].iter_mut().enumerate() {
        *byte = (q[j] & 0xf) | (q[j + 16] & 0xf) << 4;
    }
}

/// Writes the fifth bit of each number.
fn put_fifths(out: &mut [u8], q: &[u8; 32]) {
    let bits = q.iter().enumerate().fold(0, |bits, (j, &q)| bits | u32::from(q >> 4 & 1) << j);
    out[..4].copy_from_slice(&bits.to_le_bytes());
}

/// Rounds by cutting off, as the reference code does after adding a half, up to a largest number.
fn levels(values: &[f32], most: u8, level: impl Fn(f32) -> f32) -> [u8; 32] {
    let mut q = [0; 32];
    for (q, &x) in q.iter_mut().zip(values) {
        *q = (level(x) as i8).clamp(0, most as i8) as u8;
    }
    q
}

pub(super) fn encode_q4_0(values: &[f32], block: &mut [u8]) {
    let d = extreme(values) / -8.0;
    let id = inverse(d);
    put_half(block, 0, d);
    put_nibbles(&mut block[2..], &levels(values, 15, |x| x * id + 8.5));
}

pub(super) fn encode_q4_1(values: &[f32], block: &mut [u8]) {
    let (min, max) = bounds(values);
    let d = (max - min) / 15.0;
    let id = inverse(d);
    put_half(block, 0, d);
    put_half(block, 2, min);
    put_nibbles(&mut block[4..], &levels(values, 15, |x| (x - min) * id + 0.5));
}

pub(super) fn encode_q5_0(values: &[f32], block: &mut [u8]) {
    let d = extreme(values) / -16.0;
    let id = inverse(d);
    let q = levels(values, 31, |x| x * id + 16.5);
    put_half(block, 0, d);
    put_fifths(&mut block[2..], &q);
    put_nibbles(&mut block[6..], &q);
}

pub(super) fn encode_q5_1(values: &[f32], block: &mut [u8]) {
    let (min, max) = bounds(values);
    let d = (max - min) / 31.0;
    let id = inverse(d);
    let q = levels(values, 31, |x| (x - min) * id + 0.5);
    put_half(block, 0, d);
    put_half(block, 2, min);
    put_fifths(&mut block[4..], &q);
    put_nibbles(&mut block[8..], &q);
}

pub(super) fn encode_q8_0(values: &[f32], block: &mut [u8]) {
    let d = extreme(values).abs() / 127.0;
    let id = inverse(d);
    put_half(block, 0, d);
    for (q, &x) in block[2..].iter_mut().zip(values) {
        *q = (x * id).round() as i8 as u8;
    }
}
