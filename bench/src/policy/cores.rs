//! Calls on two threads against two bare loops side by side, each with an engine and a pool of its own.

use std::time::{Duration, Instant};

use super::Amount;
use super::bare::Review;
use super::calls::{Guests, decide};
use super::pull;
use crate::report::{Target, list, median, note, progress, ratio};

/// Threads: one a core of the machine that the targets are for.
const THREADS: usize = 2;
/// Calls between two looks at the clock.
const BETWEEN_LOOKS: usize = 64;

pub(super) fn run(guests: &Guests, amount: &Amount) -> anyhow::Result<()> {
    let bare: Vec<Review> = (0..THREADS)
        .map(|_| Review::new(&guests.wasm))
        .collect::<Result<_, _>>()?;
    // As long as that many calls take on a machine like ours.
    let slice = Duration::from_micros(amount.calls as u64 * 10);
    let context = pull::context();
    let floor = |thread: usize, n: usize| -> anyhow::Result<()> {
        let question = &guests.questions[n % guests.questions.len()];
        bare[thread]
            .call(&context, question)?
            .map(drop)
            .map_err(|stop| anyhow::anyhow!("{stop:?}"))
    };
    let ours = |_: usize, n: usize| -> anyhow::Result<()> {
        let question = &guests.questions[n % guests.questions.len()];
        decide(&guests.plugin, &context, question).map(drop)
    };
    let (mut floors, mut twos) = (vec![], vec![]);
    let (mut floor_ones, mut ones) = (vec![], vec![]);
    for round in 0..=amount.rounds {
        progress(format!("two-cores: round {round} of {}", amount.rounds));
        let one = (rate(1, slice, &floor)?, rate(1, slice, &ours)?);
        let two = (rate(THREADS, slice, &floor)?, rate(THREADS, slice, &ours)?);
        // The first round warms up.
        if round > 0 {
            floor_ones.push(one.0);
            ones.push(one.1);
            floors.push(two.0);
            twos.push(two.1);
        }
    }
    let over = |ours: &[f64], floor: &[f64]| -> Vec<f64> {
        ours.iter()
            .zip(floor)
            .map(|(ours, floor)| ours / floor)
            .collect()
    };
    let ratios = over(&twos, &floors);
    let (speed_up, floor_speed_up) = (over(&twos, &ones), over(&floors, &floor_ones));
    note(format!(
        "two-cores: calls a second, medians of {} rounds: on one thread bare {:.0}, ours {:.0}; on two bare {:.0}, ours {:.0}; ratios on two {}",
        ratios.len(),
        median(floor_ones),
        median(ones),
        median(floors),
        median(twos),
        list(&ratios),
    ));
    let ceiling = over(&speed_up, &floor_speed_up);
    note(format!(
        "two-cores: a second thread makes bare loops x{:.2} and ours x{:.2} as fast",
        median(floor_speed_up),
        median(speed_up)
    ));
    ratio("two-cores-speed-up", median(ceiling), Target::AtLeast(0.9));
    ratio("two-cores", median(ratios), Target::AtLeast(0.9));
    Ok(())
}

/// Calls a second of so many threads together.
fn rate(
    threads: usize,
    slice: Duration,
    call: &(impl Fn(usize, usize) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<f64> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let began = Instant::now();
                    let mut calls = 0;
                    while began.elapsed() < slice {
                        for _ in 0..BETWEEN_LOOKS {
                            call(thread, calls)?;
                            calls += 1;
                        }
                    }
                    anyhow::Ok(calls as f64 / began.elapsed().as_secs_f64())
                })
            })
            .collect();
        let mut sum = 0.0;
        for thread in running {
            sum += thread
                .join()
                .map_err(|_| anyhow::anyhow!("a loop panicked"))??;
        }
        Ok(sum)
    })
}
