//! One source, three instruction sets: the kernels are compiled for AVX-512, for AVX2
//! with FMA and for the baseline, and the widest that the machine has is taken.

/// `a * b + c`, fused where the instruction set has it. `f32::mul_add` alone would
/// call a slow library function on the baseline.
pub trait Arithmetic {
    /// `a * b + c`.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// One rounding: AVX-512, AVX2 with FMA.
pub struct Fused;

/// Two roundings: the baseline.
pub struct Plain;

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Plain {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// AVX-512 F, VL, DQ and BW.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the target always has.
    Baseline,
}

/// The widest instruction set of this machine. The standard library caches the answer.
#[inline]
pub fn level() -> Level {
    #[cfg(test)]
    if tests::BASELINE.get() {
        return Level::Baseline;
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("fma")
        {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::Avx2;
        }
    }
    Level::Baseline
}

/// Defines a function that picks one of its three compiled versions at run time. The
/// type parameter stands for the [`Arithmetic`] of the version.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$isa:ident>($($arg:ident: $kind:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $kind),*) {
            #[inline(always)]
            fn generic<$isa: $crate::detector::ops::simd::Arithmetic>($($arg: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            fn avx512($($arg: $kind),*) {
                generic::<$crate::detector::ops::simd::Fused>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $kind),*) {
                generic::<$crate::detector::ops::simd::Fused>($($arg),*)
            }

            match $crate::detector::ops::simd::level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found every feature that `avx512` enables.
                $crate::detector::ops::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found every feature that `avx2` enables.
                $crate::detector::ops::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                $crate::detector::ops::simd::Level::Baseline => {
                    generic::<$crate::detector::ops::simd::Plain>($($arg),*)
                }
            }
        }
    };
}
pub(super) use multiversion;

#[cfg(test)]
mod tests {
    use crate::detector::ops::depthwise::{Line, filter_gradient_line, forward_line};
    use std::cell::Cell;

    thread_local! {
        /// Makes `level` answer with the baseline on this thread.
        pub static BASELINE: Cell<bool> = const { Cell::new(false) };
    }

    #[test]
    fn widest_instruction_set_agrees_with_the_baseline() {
        let line = Line {
            width: 7,
            out_width: 7,
            channels: 27,
            stride: 1,
        };
        let numbers: Vec<f32> = (0..7 * 27 * 3)
            .map(|i| (i % 17) as f32 * 0.1 - 0.8)
            .collect();
        let rows: [&[f32]; 3] = std::array::from_fn(|row| &numbers[row * 189..][..189]);
        let run = || {
            let (mut out, mut taps) = (vec![0.0; 189], vec![0.0; 9 * 27]);
            forward_line(line, rows, &numbers[5..][..9 * 27], &mut out);
            filter_gradient_line(line, rows, &out, &mut taps);
            out.extend(taps);
            out
        };
        let widest = run();
        BASELINE.set(true);
        let baseline = run();
        BASELINE.set(false);
        for (wide, plain) in widest.iter().zip(&baseline) {
            assert!((wide - plain).abs() <= 1e-4 * plain.abs().max(1.0));
        }
    }
}
