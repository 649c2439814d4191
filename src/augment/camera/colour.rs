//! From linear sRGB to the colours that a sensor sees, and back.

/// A 3 x 3 matrix in rows.
pub(super) type Matrix = [[f64; 3]; 3];

/// Linear sRGB to CIE XYZ with white at D65 (IEC 61966-2-1).
const XYZ_FROM_RGB: Matrix = [
    [0.412_456_4, 0.357_576_1, 0.180_437_5],
    [0.212_672_9, 0.715_152_2, 0.072_175_0],
    [0.019_333_9, 0.119_192_0, 0.950_304_1],
];

/// XYZ (D65) to camera colour of four sensors, the `ColorMatrix` for D65 of their
/// DNG files. The first is a telephone's (of the four in the model of Brooks et al. 2019
/// it is the Huawei Nexus 6P); the others, full-frame cameras, are in the table of Adobe's
/// matrices in dcraw, `adobe_coeff`: Sony ILCE-7R, Canon EOS 5D Mark II, Nikon D3.
const CAMERA_FROM_XYZ: [Matrix; 4] = [
    [
        [1.0234, -0.2969, -0.2266],
        [-0.5625, 1.6328, -0.0469],
        [-0.0703, 0.2188, 0.6406],
    ],
    [
        [0.4913, -0.0541, -0.0202],
        [-0.6130, 1.3513, 0.2906],
        [-0.1564, 0.2151, 0.7183],
    ],
    [
        [0.4716, 0.0603, -0.0830],
        [-0.7798, 1.5474, 0.2480],
        [-0.1496, 0.1937, 0.6651],
    ],
    [
        [0.8139, -0.2171, -0.0663],
        [-0.8747, 1.6541, 0.2295],
        [-0.1925, 0.2008, 0.8093],
    ],
];

/// Linear sRGB to white-balanced camera colour: the convex combination of the four
/// sensors' matrices with these weights (at least 0, any sum above 0; all 0 counts as
/// equal), its rows scaled to sum to 1, so that grey stays grey (Brooks et al. 2019,
/// on colour correction).
pub(super) fn camera_from_rgb(weights: [f64; 4]) -> Matrix {
    let mut weights = weights.map(|weight| weight.max(0.0));
    if weights.iter().sum::<f64>() <= 0.0 {
        weights = [1.0; 4];
    }
    let sum: f64 = weights.iter().sum();
    let mut camera_from_xyz = [[0.0; 3]; 3];
    for (matrix, weight) in CAMERA_FROM_XYZ.iter().zip(weights) {
        for (to, from) in camera_from_xyz.iter_mut().zip(matrix) {
            for (to, from) in to.iter_mut().zip(from) {
                *to += weight / sum * from;
            }
        }
    }
    product(&camera_from_xyz, &XYZ_FROM_RGB).map(|row| {
        let sum: f64 = row.iter().sum();
        row.map(|value| value / sum)
    })
}

/// The matrix product `left * right`.
pub(super) fn product(left: &Matrix, right: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| left[i][k] * right[k][j]).sum()))
}

/// The inverse by cofactors; camera matrices are far from singular.
pub(super) fn inverse(matrix: &Matrix) -> Matrix {
    let cofactor = |i: usize, j: usize| {
        let at = |di: usize, dj: usize| matrix[(i + di) % 3][(j + dj) % 3];
        at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)
    };
    let determinant: f64 = (0..3).map(|j| matrix[0][j] * cofactor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_hot(sensor: usize) -> [f64; 4] {
        std::array::from_fn(|i| f64::from(u8::from(i == sensor)))
    }

    #[test]
    fn grey_is_grey_to_every_sensor_and_comes_back() {
        for weights in [
            one_hot(0),
            one_hot(1),
            one_hot(2),
            one_hot(3),
            [0.1, 0.2, 0.3, 0.4],
        ] {
            let forward = camera_from_rgb(weights);
            let identity = product(&inverse(&forward), &forward);
            for (i, row) in forward.iter().enumerate() {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                for (j, value) in identity[i].into_iter().enumerate() {
                    let expected = f64::from(u8::from(i == j));
                    assert!((value - expected).abs() < 1e-12);
                }
            }
        }
        assert_eq!(camera_from_rgb([0.0; 4]), camera_from_rgb([5.0; 4]));
    }

    /// Sensors see broader bands than sRGB's primaries: each sees most of its own
    /// channel, and developing raises the saturation, which amplifies noise.
    #[test]
    fn a_sensors_own_channel_weighs_most_and_developing_saturates() {
        for sensor in 0..4 {
            let forward = camera_from_rgb(one_hot(sensor));
            let back = inverse(&forward);
            for i in 0..3 {
                let others = forward[i][(i + 1) % 3].max(forward[i][(i + 2) % 3]);
                assert!(forward[i][i] > others, "sensor {sensor}: {forward:?}");
                assert!(
                    forward[i].iter().all(|v| *v > -0.15),
                    "{sensor}: {forward:?}"
                );
                assert!(back[i][i] > 1.0, "sensor {sensor}: {back:?}");
            }
        }
    }
}
