//! Work in parallel with the same result on any number of threads.
//!
//! Work is cut into a fixed number of tasks that depends on the sizes alone; what tasks
//! sum up is joined by the caller in their order.

use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::sync::{Mutex, PoisonError};

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
/// of its range, all of which it writes.
pub fn make<R: Send>(
    total: usize,
    unit: usize,
    work: impl Fn(Range<usize>, &mut Blank) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let len = total * unit;
    let mut numbers: Vec<f32> = Vec::with_capacity(len);
    let blank = Blank::Fresh(&mut numbers.spare_capacity_mut()[..len]);
    let results = fill(total, unit, blank, work);
    // SAFETY: `fill` has split all `len` numbers among its tasks and had each of these take
    // its part to the end, which writes fresh memory.
    unsafe { numbers.set_len(len) };
    (numbers, results)
}

/// As [`make`], for numbers that are dropped within a step: their memory comes from those of
/// the same length that were dropped before. Where the numbers `stay`, as some of a caller's
/// do, it is fresh.
pub fn make_passing<R: Send>(
    total: usize,
    unit: usize,
    stay: bool,
    work: impl Fn(Range<usize>, &mut Blank) -> R + Sync,
) -> (Passing, Vec<R>) {
    let left = if stay {
        None
    } else {
        Passing::left(total * unit)
    };
    match left {
        Some(mut numbers) => {
            let results = fill(total, unit, Blank::Used(&mut numbers), work);
            (Passing(numbers), results)
        }
        None => {
            let (numbers, results) = make(total, unit, work);
            (Passing(numbers), results)
        }
    }
}

fn fill<R: Send>(
    total: usize,
    unit: usize,
    mut rest: Blank,
    work: impl Fn(Range<usize>, &mut Blank) -> R + Sync,
) -> Vec<R> {
    let mut tasks = Vec::with_capacity(TASKS);
    for range in split(total) {
        let part = rest.first(range.len() * unit);
        tasks.push((range, part));
    }
    tasks
        .into_par_iter()
        .with_max_len(1)
        .map(|(range, mut blank)| {
            let result = work(range, &mut blank);
            blank.take(blank.len());
            result
        })
        .collect()
}

/// Numbers that are dropped within a step. Tensors of the same lengths follow in the next one,
/// and memory that holds numbers already need not be cleared for them.
#[derive(Debug, Clone)]
pub struct Passing(Vec<f32>);

/// What [`Passing`] numbers have left, the latest last.
static LEFT: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Most tensors whose memory waits. A step leaves about 60 of them.
const MOST_LEFT: usize = 256;

impl Passing {
    fn left(len: usize) -> Option<Vec<f32>> {
        // A panic elsewhere leaves the list whole.
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        let place = left.iter().rposition(|numbers| numbers.len() == len)?;
        Some(left.remove(place))
    }
}

impl Passing {
    /// No numbers.
    pub fn empty() -> Self {
        Passing(Vec::new())
    }

    /// The numbers, which stay.
    pub fn into_numbers(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }
}

impl Deref for Passing {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() == MOST_LEFT {
            left.remove(0);
        }
        left.push(std::mem::take(&mut self.0));
    }
}

/// Gives the memory back that waits for another step.
pub fn forget() {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Memory that a task has yet to fill.
pub enum Blank<'a> {
    /// A block is cleared when it is taken, by the thread that then fills it while it is in
    /// the cache: clearing a whole tensor beforehand would cost a pass over memory on a single
    /// thread.
    Fresh(&'a mut [MaybeUninit<f32>]),
    /// Holds numbers of an earlier tensor.
    Used(&'a mut [f32]),
}

impl<'a> Blank<'a> {
    fn len(&self) -> usize {
        match self {
            Blank::Fresh(rest) => rest.len(),
            Blank::Used(rest) => rest.len(),
        }
    }

    /// Cuts the first `len` numbers off.
    fn first(&mut self, len: usize) -> Blank<'a> {
        match self {
            Blank::Fresh(rest) => {
                let (block, after) = std::mem::take(rest).split_at_mut(len);
                *rest = after;
                Blank::Fresh(block)
            }
            Blank::Used(rest) => {
                let (block, after) = std::mem::take(rest).split_at_mut(len);
                *rest = after;
                Blank::Used(block)
            }
        }
    }

    /// The next `len` numbers, whose values mean nothing.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        match self.first(len) {
            Blank::Fresh(block) => {
                block.fill(MaybeUninit::new(0.0));
                // SAFETY: every number of the block has just been written, and
                // `MaybeUninit<f32>` has the layout of `f32`.
                unsafe { &mut *(std::ptr::from_mut(block) as *mut [f32]) }
            }
            Blank::Used(block) => block,
        }
    }

    /// The next `len` numbers, zero.
    ///
    /// # Panics
    /// If fewer are left.
    pub fn take_zero(&mut self, len: usize) -> &'a mut [f32] {
        let is_used = matches!(self, Blank::Used(_));
        let block = self.take(len);
        if is_used {
            block.fill(0.0);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills all but the last of three numbers a unit, which is zero.
    fn units(range: Range<usize>, blank: &mut Blank) -> usize {
        for index in range.clone() {
            blank.take(2).fill(index as f32 + 1.0);
            assert_eq!(blank.take_zero(1), [0.0]);
        }
        range.start
    }

    #[test]
    fn parts_lie_in_order_in_fresh_memory_and_in_used() {
        for total in [0, 1, 5, 8, 21] {
            let expected: Vec<f32> = (0..total)
                .flat_map(|index| [index as f32 + 1.0, index as f32 + 1.0, 0.0])
                .collect();
            let wanted: Vec<usize> = split(total).iter().map(|range| range.start).collect();
            let (numbers, starts) = make(total, 3, units);
            assert_eq!((numbers, &starts), (expected.clone(), &wanted));
            for _ in 0..2 {
                let (numbers, starts) = make_passing(total, 3, false, units);
                assert_eq!((&numbers[..], &starts), (&expected[..], &wanted));
            }
        }
    }

    #[test]
    fn memory_passes_to_the_next_of_the_same_length() {
        // A length that no other test has.
        let (mut numbers, _) = make_passing(1, 7919, false, |_, blank| blank.take(7919).fill(1.0));
        numbers.0[7918] = 5.0;
        let place = numbers.as_ptr();
        drop(numbers);
        let other = make_passing(1, 7907, false, |_, blank| blank.take(7907).fill(2.0)).0;
        assert_ne!(other.as_ptr(), place);
        let (again, seen) = make_passing(1, 7919, false, |_, blank| blank.take(7919)[7918]);
        assert_eq!((again.as_ptr(), seen), (place, vec![5.0]));
    }

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        let ranges = run(19, |range| range);
        assert_eq!(ranges, split(19));
        assert_eq!(ranges.iter().map(ExactSizeIterator::len).sum::<usize>(), 19);
    }
}
