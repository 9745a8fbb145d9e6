//! Makes small plugins for the tests: components whose answer is written down byte for byte, and some
//! that give none. What a stock policy would never say, these do.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the answer lies in the guest's memory.
const ANSWER: u32 = 1024;
/// Where the texts and lists that it points to begin; arguments come above 65536.
const REST: u32 = 4096;

/// The hook that a guest answers.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// `ignore`.
    Ignore,
    /// `advance`.
    Advance,
    /// `gate`.
    Gate,
    /// `run`.
    Run,
    /// `triage`.
    Triage,
    /// `select`.
    Select,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Hook::Ignore => "ignore",
            Hook::Advance => "advance",
            Hook::Gate => "gate",
            Hook::Run => "run",
            Hook::Triage => "triage",
            Hook::Select => "select",
        }
    }
}

/// A guest that runs `body`, which leaves the address of the answer.
pub fn runs(hook: Hook, body: &str) -> Vec<u8> {
    build(hook, "", body)
}

/// A guest that traps.
pub fn traps(hook: Hook) -> Vec<u8> {
    runs(hook, "unreachable")
}

/// A guest that never comes back.
pub fn loops(hook: Hook) -> Vec<u8> {
    runs(hook, "(loop $ever (br $ever)) unreachable")
}

/// A guest that calls itself for ever.
pub fn recurses(hook: Hook) -> Vec<u8> {
    let deeper = "(func $deeper (param i32) (result i32)
        (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))";
    build(hook, deeper, "(call $deeper (i32.const 0))")
}

/// A guest that ignores versions by index, all for one reason.
pub fn ignores(versions: &[u32], ground: &Ground<'_>, basis: &Basis<'_>) -> Vec<u8> {
    let mut memory = Memory::default();
    let mut bytes = memory.text(ground.scope);
    bytes.extend(option(ground.rule.map(u64::to_le_bytes), 8));
    bytes.extend(memory.reason("test.ground"));
    let grounds = memory.list(&[bytes]);
    let ignored = versions
        .iter()
        .map(|version| [version.to_le_bytes(), 0_u32.to_le_bytes()].concat());
    let ignored = memory.list(&ignored.collect::<Vec<_>>());
    let answer = [grounds, ignored, memory.basis(basis)].concat();
    memory.guest(Hook::Ignore, &answer)
}

/// A guest that proposes these steps.
pub fn advances(steps: &[Step<'_>], basis: &Basis<'_>) -> Vec<u8> {
    let mut memory = Memory::default();
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            let mut bytes = step.index.to_le_bytes().to_vec();
            for text in [step.stage, step.purpose] {
                let text = text.map(|text| memory.text(text));
                bytes.extend(option(text, 4));
            }
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(memory.basis(&step.basis));
            bytes
        })
        .collect();
    let steps = memory.list(&steps);
    let answer = [steps, memory.basis(basis)].concat();
    memory.guest(Hook::Advance, &answer)
}

/// One step of `advance`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step<'a> {
    /// The kernel's place in the question.
    pub index: u32,
    /// Where to move it.
    pub stage: Option<&'a str>,
    /// What to run.
    pub purpose: Option<&'a str>,
    /// Why, and what to remember of that kernel.
    pub basis: Basis<'a>,
}

/// Why versions are ignored.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// all, automatic, or nonsense.
    pub scope: &'a str,
    /// The rule.
    pub rule: Option<u64>,
}

/// What every answer carries.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The reason's code.
    pub code: &'a str,
    /// Notes to write, or, without a value, to forget.
    pub notes: &'a [(&'a str, Option<&'a str>)],
    /// Tags to hand on.
    pub tags: &'a [(&'a str, &'a str)],
    /// The key of an attribute, if it has one.
    pub attr: Option<&'a str>,
    /// When to ask again, as an instant of the contract: milliseconds since 1970.
    pub wake_at: Option<u64>,
}

impl Default for Basis<'_> {
    fn default() -> Self {
        Self {
            code: "test.said",
            notes: &[],
            tags: &[],
            attr: None,
            wake_at: None,
        }
    }
}

/// A guest of `ignore` that asks for one fact, and then ignores nothing: its reason is what it was told, or
/// the code with which it was refused.
pub fn asks(kind: &str, args: &[(&str, &str)]) -> Vec<u8> {
    let mut memory = Memory::default();
    let args: Vec<Vec<u8>> = args
        .iter()
        .map(|(key, value)| [memory.text(key), memory.text(value)].concat())
        .collect();
    let query = [memory.text(kind), memory.list(&args)].concat();
    let queries = memory.list(&[query]);
    // `err`, and of `stop` the case `ask`.
    let ask = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], &queries].concat();
    let ask = memory.put(&ask, ask.len());
    let ask = u32::from_le_bytes([ask[0], ask[1], ask[2], ask[3]]);
    let answer = [
        memory.list(&[]),
        memory.list(&[]),
        memory.basis(&Basis::default()),
    ]
    .concat();
    let mut fields = data(ANSWER, &[&[0; 8], &answer[..]].concat());
    fields += &data(REST, &memory.rest);
    let text = ANSWER + 32;
    let body = format!(
        "(if (i32.eqz (i32.load offset=44 (local.get 0))) (then (return (i32.const {ask}))))
         (i32.store (i32.const {text}) (i32.load offset=20 (i32.load offset=40 (local.get 0))))
         (i32.store offset=4 (i32.const {text}) (i32.load offset=24 (i32.load offset=40 (local.get 0))))
         (i32.const {ANSWER})"
    );
    build(Hook::Ignore, &fields, &body)
}

/// A guest that counts how often it was asked, up to nine, in the note `asked`: `ignore` and `run` of the pipeline,
/// `advance` of the first kernel of the question. No note of that subject may come before it. `run` skips its one job.
pub fn counts(hook: Hook) -> Vec<u8> {
    let mut memory = Memory::default();
    let digit = memory.text("0");
    let basis = Basis::default();
    let counting = memory.basis_with(&basis, |memory| {
        [memory.text("asked"), option(Some(digit.clone()), 4)].concat()
    });
    // Where the question has the notes: in the context, or with its first kernel.
    let (answer, subject, at) = match hook {
        Hook::Ignore => (
            [memory.list(&[]), memory.list(&[]), counting].concat(),
            "(local.get 0)",
            32,
        ),
        Hook::Advance => {
            let nothing = [option(None::<[u8; 8]>, 4), option(None::<[u8; 8]>, 4)].concat();
            let step = [&[0; 4][..], &nothing, &[0; 4], &counting].concat();
            (
                [memory.list(&[step]), memory.basis(&basis)].concat(),
                "(i32.load offset=80 (local.get 0))",
                48,
            )
        }
        Hook::Run => {
            let job = skipped(&mut memory, "test.skipped");
            let answer = [memory.list(&[job]), counting].concat();
            (answer, "(local.get 0)", 32)
        }
        Hook::Gate | Hook::Triage | Hook::Select => {
            panic!("it has a subject of another kind")
        }
    };
    let fields = data(ANSWER, &[&[0; 8], &answer[..]].concat()) + &data(REST, &memory.rest);
    let at_digit = u32::from_le_bytes([digit[0], digit[1], digit[2], digit[3]]);
    let body = format!(
        "(i32.store8 (i32.const {at_digit})
           (if (result i32) (i32.load offset={length} {subject})
             (then (i32.add (i32.const 1) (i32.load8_u (i32.load offset=8 (i32.load offset={at} {subject})))))
             (else (i32.const 49))))
         (i32.const {ANSWER})",
        length = at + 4,
    );
    build(hook, &fields, &body)
}

/// A guest of `gate` that lets everything run, with this basis.
pub fn gates(basis: &Basis<'_>) -> Vec<u8> {
    let mut memory = Memory::default();
    let answer = [vec![0; 8], memory.basis(basis)].concat();
    memory.guest(Hook::Gate, &answer)
}

/// A fact to ask for: its kind and its arguments.
pub type Query<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// What a guest does beside its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memo {
    /// Nothing.
    Forgets,
    /// It counts how often it was asked about the first pull request, up to nine, in the note `asked`.
    Counts,
}

/// A guest of `gate` that asks for facts, and then lets everything run: the text of its reason is the first of
/// them, or the code with which that was refused.
pub fn looks_up(queries: &[Query<'_>], memo: Memo) -> Vec<u8> {
    let mut memory = Memory::default();
    let queries: Vec<Vec<u8>> = queries
        .iter()
        .map(|(kind, args)| {
            let args: Vec<Vec<u8>> = args
                .iter()
                .map(|(key, value)| [memory.text(key), memory.text(value)].concat())
                .collect();
            [memory.text(kind), memory.list(&args)].concat()
        })
        .collect();
    let queries = memory.list(&queries);
    // `err`, and of `stop` the case `ask`.
    let ask = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], &queries].concat();
    let ask = memory.put(&ask, ask.len());
    let ask = u32::from_le_bytes([ask[0], ask[1], ask[2], ask[3]]);
    let digit = memory.text("0");
    let basis = match memo {
        Memo::Forgets => memory.basis(&Basis::default()),
        Memo::Counts => memory.basis_with(&Basis::default(), |memory| {
            [memory.text("asked"), option(Some(digit.clone()), 4)].concat()
        }),
    };
    let digit = u32::from_le_bytes([digit[0], digit[1], digit[2], digit[3]]);
    let answer = [vec![0; 16], basis].concat();
    let fields = data(ANSWER, &answer) + &data(REST, &memory.rest);
    // Behind `ok`, the need, and the code of the reason.
    let text = ANSWER + 24;
    let body = format!(
        "(local $fact i32) (local $pull i32)
         (if (i32.eqz (i32.load offset=44 (local.get 0))) (then (return (i32.const {ask}))))
         (local.set $fact (i32.load offset=40 (local.get 0)))
         (if (i32.ne (i32.load8_u offset=16 (local.get $fact)) (i32.const 1))
           (then
             (i32.store (i32.const {text}) (i32.load offset=20 (local.get $fact)))
             (i32.store offset=4 (i32.const {text}) (i32.load offset=24 (local.get $fact)))))
         (i32.store8 (i32.const {digit}) (i32.const 49))
         (if (i32.load offset=108 (local.get 0))
           (then
             (local.set $pull (i32.load offset=104 (local.get 0)))
             (if (i32.load offset=120 (local.get $pull))
               (then
                 (i32.store8 (i32.const {digit}) (i32.add (i32.const 1)
                   (i32.load8_u (i32.load offset=8 (i32.load offset=116 (local.get $pull))))))))))
         (i32.const {ANSWER})"
    );
    build(Hook::Gate, &fields, &body)
}

/// A guest of `gate` that lets everything run, but traps where `TRIP` stands anywhere in the question.
pub fn trips() -> Vec<u8> {
    let mut memory = Memory::default();
    let answer = [vec![0; 8], memory.basis(&Basis::default())].concat();
    let fields = data(ANSWER, &[&[0; 8], &answer[..]].concat()) + &data(REST, &memory.rest);
    let body = format!(
        "(local $at i32)
         (local.set $at (i32.const 65536))
         (loop $look
           (if (i32.eq (i32.load (local.get $at)) (i32.const {trip})) (then unreachable))
           (local.set $at (i32.add (local.get $at) (i32.const 1)))
           (br_if $look (i32.lt_u (local.get $at) (i32.const 131068))))
         (i32.const {ANSWER})",
        trip = u32::from_le_bytes(*b"TRIP"),
    );
    build(Hook::Gate, &fields, &body)
}

/// A guest of `run` with one required job, which it skips for this reason.
pub fn skips(code: &str) -> Vec<u8> {
    let mut memory = Memory::default();
    let job = skipped(&mut memory, code);
    let answer = [memory.list(&[job]), memory.basis(&Basis::default())].concat();
    memory.guest(Hook::Run, &answer)
}

/// A required job that is skipped.
fn skipped(memory: &mut Memory, code: &str) -> Vec<u8> {
    let mut job = [
        memory.text("all"),
        memory.list(&[]),
        vec![1, 0, 0, 0],
        memory.reason(code),
        vec![0; 4],
    ]
    .concat();
    // From the backend to the artifacts.
    for _ in 0..8 {
        job.extend(memory.list(&[]));
    }
    job.extend([0; 8]);
    job.extend(memory.list(&[]));
    job
}

/// A guest of `select` that wishes for so many lanes, all of the bare target.
pub fn plans(lanes: u32) -> Vec<u8> {
    let mut memory = Memory::default();
    let lane = [
        memory.list(&[]),
        vec![0; 8],
        memory.text("flood"),
        // It never lands, and is of no priority.
        vec![0; 8],
        memory.reason("test.flooded"),
        memory.list(&[]),
    ]
    .concat();
    let bytes = lane.len();
    let lane = memory.put(&lane, bytes);
    let lane = u32::from_le_bytes([lane[0], lane[1], lane[2], lane[3]]);
    let answer = [
        memory.list(&[]),
        memory.list(&[]),
        memory.basis(&Basis::default()),
    ]
    .concat();
    let fields = data(ANSWER, &[&[0; 8], &answer[..]].concat()) + &data(REST, &memory.rest);
    // They are written beyond whatever the question takes.
    let pages = (lanes as usize * bytes).div_ceil(65_536);
    let body = format!(
        "(local $at i32) (local $left i32)
         (local.set $at (i32.mul (memory.grow (i32.const {pages})) (i32.const 65536)))
         (i32.store offset=8 (i32.const {ANSWER}) (local.get $at))
         (i32.store offset=12 (i32.const {ANSWER}) (i32.const {lanes}))
         (local.set $left (i32.const {lanes}))
         (loop $next
           (memory.copy (local.get $at) (i32.const {lane}) (i32.const {bytes}))
           (local.set $at (i32.add (local.get $at) (i32.const {bytes})))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $next (local.get $left)))
         (i32.const {ANSWER})"
    );
    build(Hook::Select, &fields, &body)
}

/// A guest that abstains.
pub fn abstains(hook: Hook) -> Vec<u8> {
    let mut memory = Memory::default();
    // `err`, and of `stop` the case `abstain`.
    let stop = [
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &memory.reason("test.abstained"),
    ]
    .concat();
    let fields = data(ANSWER, &stop) + &data(REST, &memory.rest);
    build(hook, &fields, &format!("(i32.const {ANSWER})"))
}

/// The same component with another digest: a section that nothing reads.
pub fn another_build(mut wasm: Vec<u8>, tag: &str) -> Vec<u8> {
    let name = format!("build-{tag}");
    let small = |n: usize| {
        u8::try_from(n)
            .ok()
            .filter(|n| *n < 128)
            .expect("a short tag")
    };
    wasm.extend([0, small(name.len() + 1), small(name.len())]);
    wasm.extend(name.as_bytes());
    wasm
}

/// A component that exports nothing.
pub fn without_hook() -> Vec<u8> {
    encode("package test:guest; world guest {}", "(module)")
}

/// A component that imports something, beside a hook.
pub fn with_import() -> Vec<u8> {
    let world = "package test:guest;
        interface clock { now: func() -> u64; }
        world guest { import clock; include pointsman:policy/ignore-policy@0.1.0; }";
    let import = r#"(import "test:guest/clock" "now" (func (result i64)))"#;
    encode(world, &module(Hook::Ignore, import, "", "unreachable"))
}

/// What a guest's memory holds, written down beforehand.
#[derive(Default)]
struct Memory {
    rest: Vec<u8>,
}

impl Memory {
    /// Puts bytes somewhere; gives pointer and length as the ABI has them.
    fn put(&mut self, bytes: &[u8], length: usize) -> Vec<u8> {
        self.rest.resize(self.rest.len().next_multiple_of(8), 0);
        let at = REST + u32::try_from(self.rest.len()).expect("a small answer");
        self.rest.extend(bytes);
        let length = u32::try_from(length).expect("a small answer");
        [at.to_le_bytes(), length.to_le_bytes()].concat()
    }

    fn text(&mut self, text: &str) -> Vec<u8> {
        self.put(text.as_bytes(), text.len())
    }

    fn list(&mut self, items: &[Vec<u8>]) -> Vec<u8> {
        let length = items.len();
        self.put(&items.concat(), length)
    }

    fn reason(&mut self, code: &str) -> Vec<u8> {
        [
            self.text(code),
            self.text("A test says so."),
            self.list(&[]),
        ]
        .concat()
    }

    /// As `basis`, with one note more, written by `note`.
    fn basis_with(
        &mut self,
        basis: &Basis<'_>,
        note: impl FnOnce(&mut Self) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut bytes = self.basis(basis);
        let note = note(self);
        let notes = self.list(&[note]);
        // Behind the reason (24 bytes) and `wake-at` (16).
        bytes[40..48].copy_from_slice(&notes);
        bytes
    }

    fn basis(&mut self, basis: &Basis<'_>) -> Vec<u8> {
        let mut bytes = self.reason(basis.code);
        bytes.extend(option(basis.wake_at.map(u64::to_le_bytes), 8));
        let notes = basis.notes.iter().map(|(key, value)| {
            let value = value.map(|value| self.text(value));
            [self.text(key), option(value, 4)].concat()
        });
        let notes: Vec<_> = notes.collect();
        bytes.extend(self.list(&notes));
        let tags = basis.tags.iter();
        let tags: Vec<_> = tags
            .map(|(name, value)| [self.text(name), self.text(value)].concat())
            .collect();
        bytes.extend(self.list(&tags));
        let attr = basis
            .attr
            .map(|key| [self.text(key), self.text("")].concat());
        bytes.extend(self.list(attr.as_slice()));
        bytes
    }

    fn guest(&self, hook: Hook, answer: &[u8]) -> Vec<u8> {
        // `ok`, with what follows aligned to 8.
        let answer = [&[0; 8], answer].concat();
        let mut fields = data(ANSWER, &answer);
        fields += &data(REST, &self.rest);
        build(hook, &fields, &format!("(i32.const {ANSWER})"))
    }
}

/// An option whose value of 8 bytes is aligned like this.
fn option(value: Option<impl AsRef<[u8]>>, align: usize) -> Vec<u8> {
    let mut bytes = vec![0; align];
    match value {
        Some(value) => {
            bytes[0] = 1;
            bytes.extend(value.as_ref());
        }
        None => bytes.extend([0; 8]),
    }
    bytes
}

fn data(at: u32, bytes: &[u8]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in bytes {
        let _ = write!(text, "\\{byte:02x}");
    }
    text + "\")"
}

fn build(hook: Hook, fields: &str, body: &str) -> Vec<u8> {
    let world = format!(
        "package test:guest; world guest {{ include pointsman:policy/{}-policy@0.1.0; }}",
        hook.name()
    );
    encode(&world, &module(hook, "", fields, body))
}

fn module(hook: Hook, imports: &str, fields: &str, body: &str) -> String {
    let name = hook.name();
    format!(
        r#"(module
          {imports}
          (memory (export "memory") 2)
          (global $heap (mut i32) (i32.const 65536))
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (block $fits
              (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
              (br_if $fits (i32.ne (i32.const -1)
                (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536))))))
              unreachable)
            (local.get $at))
          {fields}
          (func (export "pointsman:policy/{name}@0.1.0#decide") (param i32) (result i32) {body}))"#
    )
}

/// Wraps a module in a component of the last world of `wit`.
fn encode(wit: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve
        .push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/0.1"))
        .expect("the contract");
    let package = resolve.push_source("guest.wit", wit).expect("a world");
    let world = resolve.select_world(&[package], None).expect("one world");
    let mut module = wat::parse_str(module).expect("a module");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("its type");
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(&module)
        .expect("a module of it")
        .validate(true);
    encoder.encode().expect("a component")
}
