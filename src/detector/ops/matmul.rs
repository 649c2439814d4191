//! Matrix products on one thread, over checked slices.

/// A matrix in a slice: element `(i, j)` stands at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix that fills `data`.
    ///
    /// # Panics
    /// If `data` does not hold `rows * columns` numbers.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix fills its slice");
        Matrix {
            data,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    pub fn transposed(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `out = left * right`, or `out += left * right` where `accumulate`. `out` is row-major.
///
/// # Panics
/// If the sizes do not fit together.
pub fn matmul(out: &mut [f32], left: Matrix, right: Matrix, accumulate: bool) {
    let (m, n, k) = (left.rows, right.columns, left.columns);
    assert_eq!(right.rows, k, "inner sizes agree");
    assert_eq!(out.len(), m * n, "the product fills its slice");
    // SAFETY: `Matrix` is made only by `new`, so that every element of `left` and `right`
    // lies in its slice; the assertions give `out` room for `m * n` numbers at strides
    // `(n, 1)`; and `out` is borrowed mutably, so that it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_match_the_definition() {
        let a: Vec<f32> = (0..15).map(|i| (i * 7 % 11) as f32 - 4.0).collect();
        let b: Vec<f32> = (0..35).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
        let expected: Vec<f32> = (0..21)
            .map(|i| (0..5).map(|k| a[i / 7 * 5 + k] * b[k * 7 + i % 7]).sum())
            .collect();
        let mut out = vec![9.0; 21];
        matmul(
            &mut out,
            Matrix::new(&a, 3, 5),
            Matrix::new(&b, 5, 7),
            false,
        );
        assert_eq!(out, expected);

        let mut a_transposed = vec![0.0; 15];
        for i in 0..15 {
            a_transposed[i % 5 * 3 + i / 5] = a[i];
        }
        let left = Matrix::new(&a_transposed, 5, 3).transposed();
        matmul(&mut out, left, Matrix::new(&b, 5, 7), true);
        let doubled: Vec<f32> = expected.iter().map(|v| 2.0 * v).collect();
        assert_eq!(out, doubled);
    }
}
