// SPDX-License-Identifier: MIT
//! All executions of a scenario: a few threads, each a chain of accesses.
//!
//! A thread is a future that waits before each access; one poll is one access
//! and the private work behind it. Which thread comes next, what a load reads
//! and where a store goes are choices. They are tried depth first: a run
//! repeats the choices of the last one up to the last that has an alternative.
//! A state that was seen before is not gone on from. So the search ends when
//! every state was visited: it is exhaustive, without any bound on preemption.
//!
//! Two things keep it small, and change no verdict: an access that no other
//! thread's accesses have to do with comes at once (`is_private`), and what a
//! thread has read counts for its state only as long as it matters (`forget`).

use crate::cpu::Mode;
use crate::memory::{Digest, Memory, THREADS};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

/// A rule of the code that a run breaks, by its name: see cpu.rs.
pub type Mutant = (&'static str, &'static str);

/// Why a thread ends early: it was killed, or its run is over.
pub struct Stop;
pub type R<T> = Result<T, Stop>;
pub type Thread = Pin<Box<dyn Future<Output = R<()>>>>;
type Condition = Box<dyn Fn(&Run) -> bool>;
type Judge = Box<dyn Fn(&Run) -> Result<(), String>>;

#[derive(Clone, Copy)]
pub struct Scenario {
    pub core: &'static str,
    pub name: &'static str,
    pub mode: Mode,
    pub build: &'static (dyn Fn(&Shared, Mode) -> Vec<Thread> + Sync),
}

impl Scenario {
    pub fn title(&self) -> String {
        match self.mode {
            Mode::Fences => format!("{}, fences", self.name),
            Mode::Membarrier => self.name.to_string(),
        }
    }
}

/// What an access touches.
#[derive(Clone, Copy)]
pub enum Next {
    Load(usize),
    Store(usize),
    Pair(usize, usize),
    /// Fences, waiting: what others do matters.
    Everything,
}

/// What one run of a scenario knows. Threads share it; only one runs at a time.
pub struct Run {
    pub memory: Memory,
    /// Words beside the modelled memory, which every thread sees at once: what a check needs to know.
    pub ghosts: Vec<u64>,
    /// The rules that are broken.
    pub mutants: Vec<Mutant>,
    /// Every rule that the scenario passes by (by its texts' addresses): the mutants that it may catch.
    rules: HashMap<(usize, usize), Mutant>,
    pub ended: [bool; THREADS],
    /// What each thread is about to touch.
    next: [Next; THREADS],
    /// By word: which threads load it and which store to it, in bits; as far as this search has seen,
    uses: Vec<(u8, u8)>,
    /// and as it assumes. None: nothing is assumed.
    assumed: Option<Vec<(u8, u8)>>,
    random: Option<u64>,
    waits: [Option<Condition>; THREADS],
    /// Waits, and need not get what it waits for.
    patient: [bool; THREADS],
    /// What each thread has got from memory, as a number: with its program that is its state.
    history: [u64; THREADS],
    finally: Vec<Judge>,
    choices: Vec<(u32, u32)>,
    at: usize,
    over: bool,
    violation: Option<String>,
    pub story: Option<Vec<String>>,
    pub names: Vec<String>,
}
pub type Shared = Rc<RefCell<Run>>;

#[derive(Default)]
struct Kept(u64);
impl Hasher for Kept {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!()
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}
type Seen = HashSet<u128, BuildHasherDefault<Kept>>;

impl Run {
    fn new(mutants: Vec<Mutant>) -> Run {
        Run {
            memory: Memory::new(),
            ghosts: Vec::new(),
            mutants,
            rules: HashMap::new(),
            ended: [false; THREADS],
            next: [Next::Everything; THREADS],
            uses: Vec::new(),
            assumed: None,
            random: None,
            waits: Default::default(),
            patient: [false; THREADS],
            history: [0; THREADS],
            finally: Vec::new(),
            choices: Vec::new(),
            at: 0,
            over: false,
            violation: None,
            story: None,
            names: Vec::new(),
        }
    }

    /// For the next run: everything but the choices and what was learnt.
    fn reset(&mut self) {
        let fresh = Run::new(std::mem::take(&mut self.mutants));
        let old = std::mem::replace(self, fresh);

        self.rules = old.rules;
        self.choices = old.choices;
        self.uses = old.uses;
        self.assumed = old.assumed;
        self.random = old.random;
        self.story = old.story;
    }

    /// One of n, each in some run.
    pub fn choose(&mut self, n: usize) -> usize {
        assert!(n > 0);
        if n == 1 || self.over {
            return 0;
        }
        if let Some(seed) = &mut self.random {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            self.choices.push(((*seed >> 33) as u32 % n as u32, n as u32));
        }
        if self.at == self.choices.len() {
            self.choices.push((0, n as u32));
        }
        let (chosen, of) = self.choices[self.at];
        assert_eq!(of, n as u32, "the scenario is not deterministic");
        self.at += 1;
        chosen as usize
    }

    pub fn pass(&mut self, place: &'static str, way: &'static str) {
        self.rules.entry((place.as_ptr() as usize, way.as_ptr() as usize)).or_insert((place, way));
    }

    /// watched: somebody else's steps matter to it all the same.
    pub fn announce(&mut self, thread: usize, next: Next, watched: bool) {
        self.next[thread] = if watched { Next::Everything } else { next };
        let mut used = |word: usize, loads: bool, stores: bool| {
            if self.uses.len() <= word {
                self.uses.resize(word + 1, (0, 0));
            }
            self.uses[word].0 |= (loads as u8) << thread;
            self.uses[word].1 |= (stores as u8) << thread;
        };
        match next {
            Next::Load(word) => used(word, true, false),
            Next::Store(word) => used(word, false, true),
            Next::Pair(a, b) => {
                used(a, false, true);
                used(b, false, true);
            }
            Next::Everything => (),
        }
    }

    /// Does the thread's next access neither change what others may do nor depend on what they do?
    /// Then it may come at once, and no other order has to be tried.
    fn is_private(&self, thread: usize) -> bool {
        let others = !(1u8 << thread);
        let Some(assumed) = &self.assumed else { return false };
        let uses = |word: usize| assumed.get(word).copied().unwrap_or((0, 0));
        let alone = |word: usize| (uses(word).0 | uses(word).1) & others == 0;

        match self.next[thread] {
            Next::Load(word) => uses(word).1 & others == 0,
            Next::Store(word) => alone(word),
            Next::Pair(a, b) => alone(a) && alone(b),
            Next::Everything => false,
        }
    }

    pub fn note(&mut self, thread: usize, result: u64) {
        let mut digest = Digest::new();

        digest.add(self.history[thread]);
        digest.add(result);
        self.history[thread] = digest.end() as u64;
    }

    pub fn forget(&mut self, thread: usize, state: u64) {
        self.history[thread] = state;
    }

    pub fn tell(&mut self, text: impl FnOnce(&[String]) -> String) {
        if let Some(story) = &mut self.story {
            story.push(text(&self.names));
        }
    }

    /// The run ends here, as one that broke the promise.
    pub fn violate(&mut self, text: &str) {
        if !self.over {
            self.violation = Some(text.to_string());
            self.over = true;
        }
    }

    /// The run ends here without a verdict: a loop went round more often than the model allows.
    pub fn give_up(&mut self) {
        self.over = true;
    }

    /// Judged when all threads have ended.
    pub fn finally(&mut self, check: impl Fn(&Run) -> Result<(), String> + 'static) {
        self.finally.push(Box::new(check));
    }

    pub fn wait(&mut self, thread: usize, condition: Option<Condition>, patient: bool) {
        self.waits[thread] = condition;
        self.patient[thread] = patient;
    }

    fn runnable(&self, thread: usize) -> bool {
        !self.ended[thread] && self.waits[thread].as_ref().is_none_or(|condition| condition(self))
    }

    fn digest(&self, threads: usize) -> u128 {
        let mut digest = Digest::new();

        self.memory.digest(&mut digest);
        for thread in 0..threads {
            digest.add(self.history[thread]);
            digest.add(self.ended[thread] as u64);
        }
        for &ghost in &self.ghosts {
            digest.add(ghost);
        }
        digest.end()
    }

    fn judge(&mut self) {
        for check in std::mem::take(&mut self.finally) {
            if let Err(text) = check(self) {
                self.violate(&text);
            }
        }
    }

    /// On to the next choices that were not tried yet.
    fn advance(&mut self) -> bool {
        while let Some((chosen, of)) = self.choices.last_mut() {
            *chosen += 1;
            if chosen < of {
                return true;
            }
            self.choices.pop();
        }
        false
    }
}

fn poll(thread: &mut Thread, shared: &Shared, index: usize) {
    if thread.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        shared.borrow_mut().ended[index] = true;
    }
}

fn run(scenario: &Scenario, shared: &Shared, seen: Option<&mut Seen>) {
    shared.borrow_mut().reset();
    let mut threads = (scenario.build)(shared, scenario.mode);
    let mut fresh = seen;

    for (index, thread) in threads.iter_mut().enumerate() {
        poll(thread, shared, index); /* up to its first access */
    }
    loop {
        let next = {
            let mut run = shared.borrow_mut();
            let able: Vec<usize> = (0..threads.len()).filter(|&thread| run.runnable(thread)).collect();

            if run.over {
                return;
            }
            if able.is_empty() {
                if (0..threads.len()).all(|thread| run.ended[thread] || run.patient[thread]) {
                    run.judge();
                } else {
                    run.violate("somebody waits for ever");
                }
                return;
            }
            if let Some(&private) = able.iter().find(|&&thread| run.is_private(thread)) {
                private
            } else {
                if let Some(seen) = fresh.as_mut() {
                    if run.at == run.choices.len() && !seen.insert(run.digest(threads.len())) {
                        return;
                    }
                }
                let choice = run.choose(able.len());
                able[choice]
            }
        };
        poll(&mut threads[next], shared, next);
    }
}

/// A broken rule may lead to words that make no sense, and these to an index out of bounds: as bad as any violation.
fn run_whole(scenario: &Scenario, shared: &Shared, seen: Option<&mut Seen>) {
    let whole = catch_unwind(AssertUnwindSafe(|| run(scenario, shared, seen)));

    if let Err(panic) = whole {
        if shared.borrow().mutants.is_empty() {
            resume_unwind(panic);
        }
        shared.borrow_mut().violate("a word that makes no sense was followed");
    }
}

pub struct Outcome {
    pub violation: Option<String>,
    pub states: usize,
    pub runs: usize,
    pub rules: BTreeSet<Mutant>,
    /// The steps of the run that broke the promise.
    pub story: Vec<String>,
}

/// More states than any scenario should have.
pub const STATES_MAX: usize = 60_000_000;

/// Runs at random, to learn who uses which words before the search relies on it.
const RANDOM_RUNS: u64 = 200;

/// All runs, or those up to one with a violation. How many.
fn search(scenario: &Scenario, shared: &Shared, seen: &mut Seen) -> usize {
    for runs in 1.. {
        run_whole(scenario, shared, Some(seen));
        let mut state = shared.borrow_mut();
        assert!(seen.len() <= STATES_MAX, "{}: {}: too many states", scenario.core, scenario.name);
        if state.violation.is_some() || !state.advance() {
            return runs;
        }
    }
    unreachable!()
}

pub fn explore(scenario: &Scenario, mutants: &[Mutant]) -> Outcome {
    let shared: Shared = Rc::new(RefCell::new(Run::new(mutants.to_vec())));
    let mut seen = Seen::default();
    let mut runs = 0;

    for seed in 0..RANDOM_RUNS {
        shared.borrow_mut().random = Some(seed);
        run_whole(scenario, &shared, None);
        runs += 1;
        let mut state = shared.borrow_mut();
        state.random = None;
        if state.violation.is_some() {
            break;
        }
        state.choices.clear();
    }
    while shared.borrow().violation.is_none() {
        let known = shared.borrow().uses.clone();
        shared.borrow_mut().assumed = Some(known.clone());
        runs += search(scenario, &shared, &mut seen);
        if shared.borrow().uses == known {
            break;
        }
        seen.clear(); /* a word had users that were not known: once more */
    }
    let violation = shared.borrow_mut().violation.take();
    let story = if violation.is_some() { retell(scenario, &shared) } else { Vec::new() };
    let rules = shared.borrow().rules.values().copied().collect();
    Outcome { violation, states: seen.len(), runs, rules, story }
}

/// The last run once more, with words.
fn retell(scenario: &Scenario, shared: &Shared) -> Vec<String> {
    shared.borrow_mut().story = Some(Vec::new());
    run_whole(scenario, shared, None);
    shared.borrow_mut().story.take().unwrap_or_default()
}
