//! Loops compiled for wider vectors than every processor of the target has.

/// Defines a function that is compiled twice, for any processor of the target and for those
/// with AVX2, and chooses when it is called. Neither form contracts a product and a sum into
/// one rounding or changes the order of sums, so that both give the same bits.
macro_rules! wide {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) {
            #[inline(always)]
            fn plain($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $type),*) {
                    plain($($argument),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has what the function was compiled for.
                    unsafe { with_avx2($($argument),*) };
                    return;
                }
            }
            plain($($argument),*);
        }
    };
}

pub(super) use wide;
