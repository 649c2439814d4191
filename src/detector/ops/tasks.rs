//! Work in parallel with the same result on any number of threads.
//!
//! Work is cut into a fixed number of tasks that depends on the sizes alone; what tasks
//! sum up is joined by the caller in their order.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

/// Tasks of a pass, for any number of threads.
const TASKS: usize = 8;

/// Cuts `0..total` into the ranges of the tasks.
pub fn split(total: usize) -> Vec<Range<usize>> {
    let tasks = TASKS.min(total);
    (0..tasks)
        .map(|task| task * total / tasks..(task + 1) * total / tasks)
        .collect()
}

/// Runs `work` on each task's range of `0..total` and returns the results in their order.
pub fn run<R: Send>(total: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    split(total)
        .into_par_iter()
        .with_max_len(1)
        .map(&work)
        .collect()
}

/// As [`run`], and each task also makes its part of the returned numbers: `unit` for each
/// of its range. What a task leaves out is zero.
pub fn make<R: Send>(
    total: usize,
    unit: usize,
    work: impl Fn(Range<usize>, &mut Blank) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let len = total * unit;
    let mut numbers: Vec<f32> = Vec::with_capacity(len);
    let mut rest = &mut numbers.spare_capacity_mut()[..len];
    let mut tasks = Vec::with_capacity(TASKS);
    for range in split(total) {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(range.len() * unit);
        tasks.push((range, Blank(part)));
        rest = after;
    }
    let results = tasks
        .into_par_iter()
        .with_max_len(1)
        .map(|(range, mut blank)| {
            let result = work(range, &mut blank);
            blank.take(blank.0.len());
            result
        })
        .collect();
    // SAFETY: the parts of the tasks make up all `len` numbers (`split` covers the range),
    // and each task's part has been taken, hence initialised, to its end.
    unsafe { numbers.set_len(len) };
    (numbers, results)
}

/// Memory that a task has yet to fill. A block is cleared when it is taken, by the thread
/// that then fills it while it is in the cache: clearing a whole tensor beforehand would
/// cost a pass over memory on a single thread.
pub struct Blank<'a>(&'a mut [MaybeUninit<f32>]);

impl<'a> Blank<'a> {
    /// The next `len` numbers, zero.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (block, rest) = std::mem::take(&mut self.0).split_at_mut(len);
        self.0 = rest;
        block.fill(MaybeUninit::new(0.0));
        // SAFETY: every number of the block has just been written, and `MaybeUninit<f32>`
        // has the layout of `f32`.
        unsafe { &mut *(std::ptr::from_mut(block) as *mut [f32]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_in_order_and_what_is_left_out_is_zero() {
        for total in [0, 1, 5, 8, 21] {
            let (numbers, starts) = make(total, 3, |range, blank| {
                for index in range.clone() {
                    // The last number of each unit but the final one of a task is skipped.
                    let unit = blank.take(if index + 1 == range.end { 2 } else { 3 });
                    unit[..2].fill(index as f32 + 1.0);
                }
                range.start
            });
            let expected: Vec<f32> = (0..total)
                .flat_map(|index| [index as f32 + 1.0, index as f32 + 1.0, 0.0])
                .collect();
            assert_eq!(numbers, expected);
            let wanted: Vec<usize> = split(total).iter().map(|range| range.start).collect();
            assert_eq!(starts, wanted);
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        let ranges = run(19, |range| range);
        assert_eq!(ranges, split(19));
        assert_eq!(ranges.iter().map(ExactSizeIterator::len).sum::<usize>(), 19);
    }
}
