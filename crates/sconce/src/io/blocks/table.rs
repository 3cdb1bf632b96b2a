//! Blocks whose numbers are places in a small table, or digits to the base three.

use super::basic::nibbles;
use super::half_at;

/// The sixteen levels of the `IQ4` types.
static IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The numbers of 4 bits that microscaling formats have, doubled.
static FP4: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

fn look_up(table: &[i8; 16], bytes: &[u8], d: f32, out: &mut [f32]) {
    for (y, q) in out.iter_mut().zip(nibbles(bytes)) {
        *y = d * f32::from(table[usize::from(q)]);
    }
}

pub(super) fn decode_iq4_nl(block: &[u8], out: &mut [f32]) {
    look_up(&IQ4, &block[2..], half_at(block, 0), out);
}

/// Groups of 32 with a signed scale of 6 bits.
pub(super) fn decode_iq4_xs(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    let (low, qs) = (&block[4..8], &block[8..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let top = (high >> (2 * group) & 3) as u8;
        let scale = low[group / 2] >> (4 * (group % 2)) & 0xf | top << 4;
        look_up(&IQ4, &qs[group * 16..], d * f32::from(scale as i8 - 32), out);
    }
}

/// The scale is a power of two, by its exponent; half of it, since the table is doubled.
pub(super) fn decode_mxfp4(block: &[u8], out: &mut [f32]) {
    let bits = match block[0] {
        e @ 0..2 => 0x0020_0000 << e,
        e => u32::from(e - 1) << 23,
    };
    look_up(&FP4, &block[1..], f32::from_bits(bits), out);
}

/// Five digits to the base three in a byte, as a fraction; groups of 160, 80 and 16 numbers.
pub(super) fn decode_tq1_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 52);
    let mut out = out.iter_mut();
    for (bytes, digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        for digit in 0..digits {
            for (&b, y) in bytes.iter().zip(&mut out) {
                let rest = b.wrapping_mul([1, 3, 9, 27, 81][digit]);
                let q = (u16::from(rest) * 3) >> 8;
                *y = (f32::from(q) - 1.0) * d;
            }
        }
    }
}

pub(super) fn decode_tq2_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 64);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        for (y, &b) in out.iter_mut().zip(&block[group / 4 * 32..]) {
            *y = (f32::from(b >> (2 * (group % 4)) & 3) - 1.0) * d;
        }
    }
}
