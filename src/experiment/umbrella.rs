//! A curve that rises to a peak and falls after it, fitted by least squares.

/// The unimodal curve with the least sum of squares to values of equal weight: it does not
/// fall up to its peak and does not rise after it (umbrella order; Mack and Wolfe 1981).
/// Either side is an isotonic regression (Barlow et al. 1972, *Statistical Inference under
/// Order Restrictions*, ch. 1), and the peak is where both together fit best.
pub(super) fn umbrella(values: &[f64]) -> Vec<f64> {
    let fitted = |peak: usize| {
        let mut curve = rising(values[..peak].iter().copied());
        let mut falling = rising(values[peak..].iter().rev().copied());
        falling.reverse();
        curve.extend(falling);
        curve
    };
    let misfit = |curve: &Vec<f64>| -> f64 {
        let squares = curve
            .iter()
            .zip(values)
            .map(|(fit, value)| (fit - value).powi(2));
        squares.sum()
    };
    (0..=values.len())
        .map(fitted)
        .min_by(|a, b| misfit(a).total_cmp(&misfit(b)))
        .unwrap_or_default()
}

/// Pool adjacent violators: the rising curve with the least sum of squares.
fn rising(values: impl Iterator<Item = f64>) -> Vec<f64> {
    // Blocks of one height: sum and count of their values.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for value in values {
        let mut block = (value, 1);
        while let Some(&(sum, count)) = blocks.last()
            && sum / count as f64 >= block.0 / block.1 as f64
        {
            block = (block.0 + sum, block.1 + count);
            blocks.pop();
        }
        blocks.push(block);
    }
    let heights = blocks
        .into_iter()
        .map(|(sum, count)| (sum / count as f64, count));
    heights
        .flat_map(|(height, count)| std::iter::repeat_n(height, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn squares(curve: &[f64], values: &[f64]) -> f64 {
        curve.iter().zip(values).map(|(a, b)| (a - b).powi(2)).sum()
    }

    fn is_umbrella(curve: &[f64]) -> bool {
        let turn = curve.windows(2).position(|pair| pair[1] < pair[0] - 1e-12);
        let fall = &curve[turn.unwrap_or(curve.len())..];
        fall.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12)
    }

    #[test]
    fn violators_are_pooled_on_both_sides() {
        assert_eq!(
            rising([1.0, 3.0, 2.0, 4.0].into_iter()),
            [1.0, 2.5, 2.5, 4.0]
        );
        assert_eq!(umbrella(&[1.0, 3.0, 2.0]), [1.0, 3.0, 2.0]);
        assert_eq!(
            umbrella(&[1.0, 5.0, 2.0, 3.0, 0.0]),
            [1.0, 5.0, 2.5, 2.5, 0.0]
        );
        assert_eq!(umbrella(&[3.0, 1.0, 2.0]), [3.0, 1.5, 1.5]);
        assert!(umbrella(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The best curve is made of blocks at the means of their values: of all ways to cut
        /// the values into blocks, none that is an umbrella fits better.
        #[test]
        fn no_cut_into_blocks_fits_better(values in prop::collection::vec(-1.0..1.0_f64, 1..8)) {
            let found = umbrella(&values);
            prop_assert!(is_umbrella(&found), "{found:?}");
            for cuts in 0..1_u32 << (values.len() - 1) {
                let mut curve = Vec::new();
                let mut first = 0;
                for last in 0..values.len() {
                    if last + 1 == values.len() || cuts >> last & 1 == 1 {
                        let block = &values[first..=last];
                        let height = block.iter().sum::<f64>() / block.len() as f64;
                        curve.extend(std::iter::repeat_n(height, block.len()));
                        first = last + 1;
                    }
                }
                if is_umbrella(&curve) {
                    prop_assert!(squares(&found, &values) <= squares(&curve, &values) + 1e-9);
                }
            }
        }
    }
}
