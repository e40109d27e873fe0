// SPDX-License-Identifier: MIT
//! The cores of the lock-free protocols under the C11 memory model. See README.md.
//!
//!     weak                          everything; ends with `N passed, N failed`
//!     weak SCENARIO [PLACE WAY]...  one scenario, all of it or with rules broken; tells the run that fails

mod cores;
mod cpu;
mod expected;
mod explore;
mod litmus;
mod memory;
mod pool;
mod steps;

use explore::{explore, Mutant, Outcome, Scenario};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What the lines say so far.
#[derive(Default)]
struct Verdicts {
    passed: usize,
    failed: usize,
}

impl Verdicts {
    fn add(&mut self, good: bool, line: String) {
        println!("{} {line}", if good { "ok    " } else { "FAILED" });
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Does every piece of work, a few at a time, and hands the results on in order.
fn in_parallel<W: Sync, T: Send>(work: &[W], job: impl Fn(&W) -> T + Sync, mut each: impl FnMut(&W, T)) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(work.len().max(1));
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, T>> = Mutex::new(BTreeMap::new());
    let (sender, receiver) = std::sync::mpsc::channel();

    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, done, job, sender) = (&next, &done, &job, sender.clone());
            scope.spawn(move || loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= work.len() {
                    return;
                }
                let result = job(&work[i]);
                done.lock().unwrap().insert(i, result);
                sender.send(()).unwrap();
            });
        }
        drop(sender);
        let mut told = 0;
        while receiver.recv().is_ok() {
            while let Some(result) = done.lock().unwrap().remove(&told) {
                each(&work[told], result);
                told += 1;
            }
        }
    });
}

fn timed(scenario: &Scenario, mutants: &[Mutant]) -> (Outcome, Duration) {
    let start = Instant::now();

    (explore(scenario, mutants), start.elapsed())
}

fn run_litmus(verdicts: &mut Verdicts) {
    in_parallel(
        &litmus::scenarios(),
        |(scenario, _)| explore(scenario, &[]),
        |(scenario, seen), outcome| {
            let found = outcome.violation.is_some();
            let what = if found { "found" } else { "never" };
            verdicts.add(found == *seen, format!("litmus: {}: {what} ({} states)", scenario.title(), outcome.states));
        },
    );
}

/// Scenarios with more states are searched as they are, not with each rule broken.
const MUTANT_STATES_MAX: usize = 50_000;

/// A rule, and the scenarios that pass by it with their size.
type Rules = BTreeMap<Mutant, Vec<(usize, Scenario)>>;

fn run_scenarios(verdicts: &mut Verdicts) -> Rules {
    let mut rules = Rules::new();

    in_parallel(
        &cores::all(),
        |scenario| timed(scenario, &[]),
        |scenario, (outcome, time)| {
            let text = outcome.violation.as_deref().unwrap_or("holds");
            verdicts.add(
                outcome.violation.is_none(),
                format!(
                    "{}: {}: {text} ({} states, {:.1} s)",
                    scenario.core,
                    scenario.title(),
                    outcome.states,
                    time.as_secs_f64()
                ),
            );
            let serves = outcome.violation.is_none() && outcome.states <= MUTANT_STATES_MAX;
            for rule in outcome.rules.iter().filter(|_| serves) {
                rules.entry(*rule).or_default().push((outcome.states, *scenario));
            }
        },
    );
    for scenarios in rules.values_mut() {
        scenarios.sort_by_key(|(states, _)| *states);
    }
    rules
}

/// The first scenario, of those that pass by the rule, that notices these broken.
fn catch(scenarios: &[(usize, Scenario)], mutants: &[Mutant]) -> Option<String> {
    scenarios.iter().find_map(|(_, scenario)| {
        let outcome = explore(scenario, mutants);
        outcome.violation.map(|text| format!("{}: {}: {text}", scenario.core, scenario.title()))
    })
}

/// Each rule broken: some scenario must notice, or expected.rs says why none does. What it says of other
/// rules that do the same must be so: all of them broken is noticed.
fn run_mutants(verdicts: &mut Verdicts, rules: &Rules) {
    let of_the_code = |place: &str| (place.contains(".c:") || place.contains(".h:")) && !place.contains("(kernel)");
    let work: Vec<_> = rules.iter().filter(|((place, _), _)| of_the_code(place)).collect();
    let job = |(rule, scenarios): &(&Mutant, &Vec<(usize, Scenario)>)| {
        let kept = expected::find(**rule);
        let alone = catch(scenarios, &[**rule]);
        let together = kept.filter(|kept| alone.is_none() && !kept.with.is_empty()).map(|kept| {
            let mutants: Vec<Mutant> = kept.with.iter().copied().chain([**rule]).collect();
            catch(scenarios, &mutants)
        });
        (kept, alone, together)
    };

    in_parallel(&work, job, |(rule, _), (kept, alone, together)| {
        let name = format!("{} / {}", rule.0, rule.1);
        match (kept, alone, together) {
            (None, Some(text), _) => verdicts.add(true, format!("{name}: caught by {text}")),
            (None, None, _) => verdicts.add(false, format!("{name}: not caught, and expected.rs does not say why")),
            (Some(_), Some(text), _) => {
                verdicts.add(false, format!("{name}: caught by {text}; take it out of expected.rs"))
            }
            (Some(kept), None, None) => verdicts.add(true, format!("{name}: not caught: {}", kept.why)),
            (Some(kept), None, Some(Some(text))) => {
                verdicts.add(true, format!("{name}: not caught: {}; without {:?} too: {text}", kept.why, kept.with))
            }
            (Some(kept), None, Some(None)) => {
                verdicts.add(false, format!("{name}: not caught without {:?} either", kept.with))
            }
        }
    });
    for kept in expected::KEPT.iter().filter(|kept| !rules.contains_key(&kept.rule)) {
        verdicts.add(false, format!("{} / {}: in expected.rs, and no scenario passes by it", kept.rule.0, kept.rule.1));
    }
}

/// The scenarios of that name or core, those that pass by the rules if some are to be broken; each run that fails, step
/// by step. Whether all hold.
fn tell(args: &[String]) -> bool {
    let text = |arg: &String| -> &'static str { Box::leak(arg.clone().into_boxed_str()) };
    let mutants: Vec<Mutant> = args[1..].chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    let named = |scenario: &Scenario| [&scenario.title(), scenario.name, scenario.core].contains(&args[0].as_str());
    let passes_by = |scenario: &Scenario| {
        mutants.is_empty() || mutants.iter().all(|rule| explore(scenario, &[]).rules.contains(rule))
    };
    let wanted: Vec<Scenario> =
        cores::all().into_iter().filter(|scenario| named(scenario) && passes_by(scenario)).collect();

    if wanted.is_empty() || args.len() % 2 == 0 {
        eprintln!("weak [SCENARIO [PLACE WAY]...]; scenarios:");
        cores::all().iter().for_each(|scenario| eprintln!("  {}: {}", scenario.core, scenario.title()));
        return false;
    }
    wanted.iter().fold(true, |good, scenario| {
        let (outcome, time) = timed(scenario, &mutants);
        for line in &outcome.story {
            println!("  {line}");
        }
        println!(
            "{}: {}: {} ({} states, {} runs, {:.1} s)",
            scenario.core,
            scenario.title(),
            outcome.violation.as_deref().unwrap_or("holds"),
            outcome.states,
            outcome.runs,
            time.as_secs_f64()
        );
        good && outcome.violation.is_none()
    })
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut verdicts = Verdicts::default();

    std::panic::set_hook(Box::new(|panic| {
        /* a broken rule that leads to nonsense is a verdict, not a fault of this program */
        if std::env::var_os("RUST_BACKTRACE").is_some() || !panic.to_string().contains("index out of bounds") {
            eprintln!("{panic}");
        }
    }));
    if !args.is_empty() {
        std::process::exit(!tell(&args) as i32);
    }
    run_litmus(&mut verdicts);
    let rules = run_scenarios(&mut verdicts);
    run_mutants(&mut verdicts, &rules);
    println!("{} passed, {} failed", verdicts.passed, verdicts.failed);
    std::process::exit((verdicts.failed > 0 || verdicts.passed == 0) as i32);
}
