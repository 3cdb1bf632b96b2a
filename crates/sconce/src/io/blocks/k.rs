//! Blocks of 256 numbers in groups, each with a small scale of its own under the block's scale.

use super::half_at;

/// 2 bits; groups of 16 with a scale and a smallest value of 4 bits.
pub(super) fn decode_q2(block: &[u8], out: &mut [f32]) {
    let (scales, qs) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scales[group];
        let (dl, ml) = (d * f32::from(scale & 0xf), dmin * f32::from(scale >> 4));
        for (y, &q) in out.iter_mut().zip(&qs[place(group)..]) {
            *y = dl * f32::from(q >> shift(group) & 3) - ml;
        }
    }
}

/// 3 bits, the third apart; groups of 16 with a signed scale of 6 bits.
pub(super) fn decode_q3(block: &[u8], out: &mut [f32]) {
    let (high, qs, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half_at(block, 108);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let low = if group < 8 { scales[group] & 0xf } else { scales[group - 8] >> 4 };
        let scale = low | (scales[8 + group % 4] >> (2 * (group / 4)) & 3) << 4;
        let dl = d * f32::from(scale as i8 - 32);
        let bit = 1 << (group / 2);
        let high = &high[16 * (group % 2)..];
        for ((y, &q), &h) in out.iter_mut().zip(&qs[place(group)..]).zip(high) {
            let q = (q >> shift(group) & 3) as i8 - if h & bit == 0 { 4 } else { 0 };
            *y = dl * f32::from(q);
        }
    }
}

/// Where the bytes of a group of 16 numbers of 2 bits begin: four groups share bytes, at four shifts.
fn place(group: usize) -> usize {
    group / 8 * 32 + group % 2 * 16
}

fn shift(group: usize) -> usize {
    group % 8 / 2 * 2
}

/// The scale and the smallest value, of 6 bits, of one of eight groups of 32.
fn scale_and_min(scales: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = match group {
        0..4 => (scales[group] & 63, scales[group + 4] & 63),
        _ => (
            scales[group + 4] & 0xf | scales[group - 4] >> 6 << 4,
            scales[group + 4] >> 4 | scales[group] >> 6 << 4,
        ),
    };
    (scale.into(), min.into())
}

/// 4 bits; groups of 32 with a scale and a smallest value of 6 bits.
pub(super) fn decode_q4(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, qs) = (&block[4..16], &block[16..144]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, group);
        let (dl, ml) = (d * scale, dmin * min);
        for (y, &q) in out.iter_mut().zip(&qs[group / 2 * 32..]) {
            *y = dl * f32::from(q >> (4 * (group % 2)) & 0xf) - ml;
        }
    }
}

/// As `Q4_K`, with a fifth bit apart.
pub(super) fn decode_q5(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, high, qs) = (&block[4..16], &block[16..48], &block[48..176]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, group);
        let (dl, ml) = (d * scale, dmin * min);
        for ((y, &q), &h) in out.iter_mut().zip(&qs[group / 2 * 32..]).zip(high) {
            let q = q >> (4 * (group % 2)) & 0xf | (h >> group & 1) << 4;
            *y = dl * f32::from(q) - ml;
        }
    }
}

/// 6 bits, the upper two apart; groups of 16 with a signed scale of 8 bits.
pub(super) fn decode_q6(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (half, part) = (group / 4, group % 4);
        let low = &low[half * 64 + part % 2 * 32..];
        let high = &high[half * 32..];
        for (l, y) in out.iter_mut().enumerate() {
            let q = low[l] >> (4 * (part / 2)) & 0xf | (high[l] >> (2 * part) & 3) << 4;
            let scale = scales[group * 2 + l / 16] as i8;
            *y = d * f32::from(scale) * f32::from(q as i8 - 32);
        }
    }
}

/// 8 bits under one scale in single precision; sums of groups follow.
pub(super) fn decode_q8(block: &[u8], out: &mut [f32]) {
    let d = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    for (y, &q) in out.iter_mut().zip(&block[4..]) {
        *y = d * f32::from(q as i8);
    }
}
