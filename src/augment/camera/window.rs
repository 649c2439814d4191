//! Means over 5 x 5 values, row by row.

/// The last five rows of a plane, each value the sum of five neighbours in its row;
/// beyond the border the plane goes on as at the border.
pub(super) struct Window {
    width: usize,
    height: usize,
    rows: Vec<f32>,
    padded: Vec<f32>,
    next: usize,
}

impl Window {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Window {
            width,
            height,
            rows: vec![0.0; 5 * width],
            padded: vec![0.0; width + 4],
            next: 0,
        }
    }

    /// Takes the plane's next row.
    pub(super) fn push(&mut self, values: &[f32]) {
        let width = self.width;
        let values = &values[..width];
        self.padded[2..][..width].copy_from_slice(values);
        self.padded[..2].fill(values[0]);
        self.padded[width + 2..].fill(values[width - 1]);
        let at = |dx: usize| &self.padded[dx..][..width];
        let (a, b, c, d, e) = (at(0), at(1), at(2), at(3), at(4));
        let to = &mut self.rows[self.next % 5 * width..][..width];
        for x in 0..width {
            to[x] = (a[x] + b[x]) + (d[x] + e[x]) + c[x];
        }
        self.next += 1;
    }

    /// Means around row `y`, once row `y + 2`, or the last, was taken.
    pub(super) fn mean(&self, y: usize, to: &mut [f32]) {
        let row = |dy: usize| {
            let y = (y + dy).saturating_sub(2).min(self.height - 1);
            &self.rows[y % 5 * self.width..][..self.width]
        };
        let (a, b, c, d, e) = (row(0), row(1), row(2), row(3), row(4));
        let to = &mut to[..self.width];
        for x in 0..self.width {
            to[x] = ((a[x] + b[x]) + (d[x] + e[x]) + c[x]) * (1.0 / 25.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_means_are_those_of_25_values() {
        for [width, height] in [[1, 1], [1, 7], [9, 2], [12, 11]] {
            let value = |x: usize, y: usize| ((x * 31 + y * 17) % 23) as f32;
            let mut window = Window::new(width, height);
            let mut means = vec![vec![0.0; width]; height];
            for step in 0..height + 2 {
                if step < height {
                    window.push(&(0..width).map(|x| value(x, step)).collect::<Vec<_>>());
                }
                if step >= 2 {
                    window.mean(step - 2, &mut means[step - 2]);
                }
            }
            for (y, row) in means.iter().enumerate() {
                for (x, mean) in row.iter().enumerate() {
                    let sum: f32 = (0..25)
                        .map(|i| {
                            let x = (x + i % 5).saturating_sub(2).min(width - 1);
                            let y = (y + i / 5).saturating_sub(2).min(height - 1);
                            value(x, y)
                        })
                        .sum();
                    assert!((mean - sum / 25.0).abs() < 1e-4, "{x}, {y}");
                }
            }
        }
    }
}
