// SPDX-License-Identifier: MIT
//! Is memory.rs C11? Litmus tests with known answers: an outcome that C11
//! allows must be found, one that it forbids must not. The last one C11
//! allows, and this model does not show it: its limit.

use crate::cpu::{word, Cpu, Mode, Word};
use crate::explore::{Scenario, Shared, Thread, R};
use crate::memory::Order::{self, *};
use std::rc::Rc;

#[derive(Clone, Copy)]
enum Step {
    Store(Word, u64, Order),
    Load(Word, Order),
    /// Stores, and gives what was there before.
    Swap(Word, u64, Order),
    /// From, to; gives what was there.
    Cas(Word, u64, u64, Order),
    AcquireFence,
    ReleaseFence,
    FullFence,
    /// A fence in all threads, by this one.
    Membarrier,
}
use Step::*;

struct Test {
    name: &'static str,
    threads: &'static [&'static [Step]],
    /// What loads and swaps give, thread after thread.
    gives: &'static [u64],
    /// And what x and y are at the end, where it matters.
    ends: Option<[u64; 2]>,
    seen: bool,
}

const X: Word = Word(0);
const Y: Word = Word(1);

const fn seen(name: &'static str, threads: &'static [&'static [Step]], gives: &'static [u64]) -> Test {
    Test { name, threads, gives, ends: None, seen: true }
}

const fn never(name: &'static str, threads: &'static [&'static [Step]], gives: &'static [u64]) -> Test {
    Test { name, threads, gives, ends: None, seen: false }
}

const TESTS: &[Test] = &[
    /* message passing and its kin */
    seen(
        "message, relaxed store",
        &[&[Store(X, 1, Relaxed), Store(Y, 1, Relaxed)], &[Load(Y, Acquire), Load(X, Relaxed)]],
        &[1, 0],
    ),
    seen(
        "message, relaxed load",
        &[&[Store(X, 1, Relaxed), Store(Y, 1, Release)], &[Load(Y, Relaxed), Load(X, Relaxed)]],
        &[1, 0],
    ),
    never(
        "message, release and acquire",
        &[&[Store(X, 1, Relaxed), Store(Y, 1, Release)], &[Load(Y, Acquire), Load(X, Relaxed)]],
        &[1, 0],
    ),
    never(
        "message, release fence and acquire fence",
        &[
            &[Store(X, 1, Relaxed), ReleaseFence, Store(Y, 1, Relaxed)],
            &[Load(Y, Relaxed), AcquireFence, Load(X, Relaxed)],
        ],
        &[1, 0],
    ),
    seen(
        "message, release fence before both",
        &[
            &[ReleaseFence, Store(X, 1, Relaxed), Store(Y, 1, Relaxed)],
            &[Load(Y, Relaxed), AcquireFence, Load(X, Relaxed)],
        ],
        &[1, 0],
    ),
    never(
        "message through a relaxed swap",
        &[&[Store(X, 1, Relaxed), Store(Y, 1, Release)], &[Swap(Y, 2, Relaxed)], &[Load(Y, Acquire), Load(X, Relaxed)]],
        &[1, 2, 0],
    ),
    seen(
        "message through a relaxed store",
        &[
            &[Store(X, 1, Relaxed), Store(Y, 1, Release)],
            &[Load(Y, Relaxed), Store(Y, 2, Relaxed)],
            &[Load(Y, Acquire), Load(X, Relaxed)],
        ],
        &[1, 2, 0],
    ),
    never(
        "write to read causality, release",
        &[&[Store(X, 1, Relaxed)], &[Load(X, Relaxed), Store(Y, 1, Release)], &[Load(Y, Acquire), Load(X, Relaxed)]],
        &[1, 1, 0],
    ),
    seen(
        "write to read causality, relaxed",
        &[&[Store(X, 1, Relaxed)], &[Load(X, Acquire), Store(Y, 1, Relaxed)], &[Load(Y, Acquire), Load(X, Relaxed)]],
        &[1, 1, 0],
    ),
    /* store buffering: what only full fences, or membarrier, forbid */
    seen(
        "store buffering, no fence",
        &[&[Store(X, 1, Release), Load(Y, Acquire)], &[Store(Y, 1, Release), Load(X, Acquire)]],
        &[0, 0],
    ),
    seen(
        "store buffering, one fence",
        &[&[Store(X, 1, Release), FullFence, Load(Y, Acquire)], &[Store(Y, 1, Release), Load(X, Acquire)]],
        &[0, 0],
    ),
    seen(
        "store buffering, acquire and release fences",
        &[
            &[Store(X, 1, Release), ReleaseFence, AcquireFence, Load(Y, Acquire)],
            &[Store(Y, 1, Release), ReleaseFence, AcquireFence, Load(X, Acquire)],
        ],
        &[0, 0],
    ),
    never(
        "store buffering, two fences",
        &[&[Store(X, 1, Relaxed), FullFence, Load(Y, Relaxed)], &[Store(Y, 1, Relaxed), FullFence, Load(X, Relaxed)]],
        &[0, 0],
    ),
    never(
        "store buffering, membarrier on one side",
        &[&[Store(X, 1, Relaxed), Load(Y, Relaxed)], &[Store(Y, 1, Relaxed), Membarrier, Load(X, Relaxed)]],
        &[0, 0],
    ),
    seen(
        "store buffering, membarrier by a third",
        &[&[Store(X, 1, Relaxed), Load(Y, Relaxed)], &[Store(Y, 1, Relaxed), Load(X, Relaxed)], &[Membarrier]],
        &[0, 0],
    ),
    seen(
        "independent reads, acquire",
        &[
            &[Store(X, 1, Release)],
            &[Store(Y, 1, Release)],
            &[Load(X, Acquire), Load(Y, Acquire)],
            &[Load(Y, Acquire), Load(X, Acquire)],
        ],
        &[1, 0, 1, 0],
    ),
    never(
        "independent reads, fences",
        &[
            &[Store(X, 1, Release)],
            &[Store(Y, 1, Release)],
            &[Load(X, Relaxed), FullFence, Load(Y, Relaxed)],
            &[Load(Y, Relaxed), FullFence, Load(X, Relaxed)],
        ],
        &[1, 0, 1, 0],
    ),
    /* one word alone */
    never("coherence: new, then old", &[&[Store(X, 1, Relaxed)], &[Load(X, Relaxed), Load(X, Relaxed)]], &[1, 0]),
    never(
        "coherence: two readers in two orders",
        &[
            &[Store(X, 1, Relaxed)],
            &[Store(X, 2, Relaxed)],
            &[Load(X, Relaxed), Load(X, Relaxed)],
            &[Load(X, Relaxed), Load(X, Relaxed)],
        ],
        &[1, 2, 2, 1],
    ),
    never(
        "coherence: a store does not go before what its thread has read",
        &[&[Load(X, Relaxed), Store(X, 1, Relaxed), Load(X, Relaxed)], &[Store(X, 2, Relaxed)]],
        &[2, 2],
    ),
    /* the search of some checkers misses this one: a thread that loads a word before it stores to it */
    seen("load and store, seen", &[&[Load(X, Acquire), Store(X, 1, Release)], &[Load(X, Acquire)]], &[0, 1]),
    Test {
        name: "two and two stores, each first one last",
        threads: &[&[Store(X, 1, Release), Store(Y, 2, Release)], &[Store(Y, 1, Release), Store(X, 2, Release)]],
        gives: &[],
        ends: Some([1, 1]),
        seen: true,
    },
    /* swaps */
    never("two swaps of one old value", &[&[Swap(X, 1, Relaxed)], &[Swap(X, 2, Relaxed)]], &[0, 0]),
    never(
        "a swap on both sides needs no fence",
        &[&[Store(X, 1, Relaxed), Swap(Y, 1, AcqRel)], &[Swap(Y, 2, AcqRel), Load(X, Relaxed)]],
        &[0, 1, 0],
    ),
    Test {
        name: "a compare-and-swap fails on an old value",
        threads: &[&[Store(X, 1, Relaxed), Store(Y, 1, Relaxed)], &[Load(Y, Relaxed), Cas(X, 1, 2, AcqRel)]],
        gives: &[1, 0],
        ends: Some([1, 1]),
        seen: true,
    },
    /* allowed by C11, and done by arm64 */
    never(
        "LIMIT: load buffering",
        &[&[Load(X, Relaxed), Store(Y, 1, Relaxed)], &[Load(Y, Relaxed), Store(X, 1, Relaxed)]],
        &[1, 1],
    ),
];

async fn follow(cpu: Rc<Cpu>, steps: &'static [Step], first: usize, threads: usize) -> R<()> {
    let mut next = first;

    for &step in steps {
        let got = match step {
            Store(word, value, order) => cpu.store("", word, value, order).await.map(|()| None)?,
            Load(word, order) => Some(cpu.load("", word, order).await?),
            Swap(word, value, order) => Some(cpu.modify("", word, order, |_| Some(value)).await?),
            Cas(word, from, to, order) => {
                Some(cpu.modify("", word, order, |value| (value == from).then_some(to)).await?)
            }
            AcquireFence => {
                cpu.fence_acquire("");
                None
            }
            ReleaseFence => {
                cpu.fence_release("");
                None
            }
            FullFence => cpu.fence_full("").await.map(|()| None)?,
            Membarrier => cpu.members_barrier(Mode::Membarrier, "", threads).await.map(|()| None)?,
        };
        if let Some(value) = got {
            cpu.set_ghost(next, value);
            next += 1;
        }
    }
    Ok(())
}

fn build(test: &'static Test, shared: &Shared) -> Vec<Thread> {
    let (x, y) = (word(shared, "x", 0, 0), word(shared, "y", 0, 0));
    let gives = |steps: &[Step]| steps.iter().filter(|step| matches!(step, Load(..) | Swap(..) | Cas(..))).count();
    let mut first = 0;
    let threads = test.threads.iter().map(|&steps| {
        let at = first;
        first += gives(steps);
        Box::pin(follow(Cpu::new(shared), steps, at, test.threads.len())) as Thread
    });
    let threads = threads.collect();
    let mut run = shared.borrow_mut();

    run.ghosts = vec![u64::MAX; first];
    run.finally(move |run| {
        let ends = [x, y].map(|word| run.memory.last(word.0));
        let found = run.ghosts == test.gives && test.ends.is_none_or(|wanted| wanted == ends);
        if found {
            Err("found".to_string())
        } else {
            Ok(())
        }
    });
    threads
}

/// Each with whether its outcome is to be found; it counts as a violation.
pub fn scenarios() -> Vec<(Scenario, bool)> {
    let scenario = |test: &'static Test| {
        let build = move |shared: &Shared, _| build(test, shared);
        Scenario { core: "litmus", name: test.name, mode: Mode::Membarrier, build: Box::leak(Box::new(build)) }
    };

    TESTS.iter().map(|test| (scenario(test), test.seen)).collect()
}
