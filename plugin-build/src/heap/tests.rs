use proptest::prelude::*;
use wasmtime::{Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder};

use super::*;

/// Pages that a guest may have in all, the spare ones included.
const MOST: usize = 64;

const GUEST: &str = r#"(module
    (memory (export "memory") 2)
    (global (mut i32) (i32.const 7))
    (data (i32.const 100) "as it was")
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size))
    (func (export "last") (result i32)
        (i32.load8_u (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)))))"#;

/// A guest and its limits.
struct Guest {
    store: Store<StoreLimits>,
    instance: Instance,
}

impl Guest {
    fn new(module: &[u8], pages: usize) -> Self {
        let engine = Engine::default();
        let limits = StoreLimitsBuilder::new().memory_size(pages << 16).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        let module = Module::new(&engine, module).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Guest { store, instance }
    }

    fn grow(&mut self, pages: i32) -> i32 {
        let grow = self.instance.get_typed_func(&mut self.store, "grow");
        grow.unwrap().call(&mut self.store, pages).unwrap()
    }

    fn ask(&mut self, what: &str) -> i32 {
        let asked = self
            .instance
            .get_typed_func::<(), i32>(&mut self.store, what);
        asked.unwrap().call(&mut self.store, ()).unwrap()
    }
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

proptest! {
    /// What a guest can see of its memory is the same, whatever it asks for, up to the limit: that one counts
    /// the spare pages, which an instance has.
    #[test]
    fn a_guest_sees_no_difference(asked in prop::collection::vec(prop_oneof![0..20_i32, -2..100_000], 0..12)) {
        let module = wasm(GUEST);
        let mut before = Guest::new(&module, MOST);
        let mut after = Guest::new(&at_birth(&module).unwrap(), MOST);
        for pages in asked {
            prop_assert_eq!(before.grow(pages), after.grow(pages), "{} pages", pages);
            prop_assert_eq!(before.ask("size"), after.ask("size"));
            prop_assert_eq!(after.ask("last"), 0);
        }
    }
}

#[test]
fn the_spare_pages_take_no_memory_from_the_host() {
    let module = at_birth(&wasm(GUEST)).unwrap();
    let spare = i32::try_from(SPARE).unwrap();
    let mut guest = Guest::new(&module, MOST);
    let memory = guest
        .instance
        .get_memory(&mut guest.store, "memory")
        .unwrap();
    assert_eq!(guest.grow(spare), 2);
    assert_eq!(memory.size(&guest.store), 2 + SPARE, "it was there");
    assert_eq!(guest.grow(1), 2 + spare);
    assert_eq!(memory.size(&guest.store), 3 + SPARE);
    assert_eq!(
        &memory.data(&guest.store)[100..109],
        b"as it was",
        "the data is where it was"
    );
}

#[test]
fn the_new_function_has_a_name_and_the_others_keep_theirs() {
    let module = wasm(
        r#"(module (memory 1) (global i32 (i32.const 0))
             (func $mine (result i32) (memory.grow (i32.const 1))))"#,
    );
    let module = at_birth(&module).unwrap();
    let mut names = vec![];
    for payload in Parser::new(0).parse_all(&module) {
        let Payload::CustomSection(section) = payload.unwrap() else {
            continue;
        };
        let wasmparser::KnownCustom::Name(section) = section.as_known() else {
            continue;
        };
        for subsection in section {
            if let Name::Function(functions) = subsection.unwrap() {
                names.extend(functions.into_iter().map(|function| function.unwrap().name));
            }
        }
    }
    assert_eq!(names, ["mine", NAME]);
}

#[test]
fn a_memory_that_is_not_plain_stays_as_it_is() {
    for text in [
        "(module (global i32 (i32.const 0)) (func))",
        r#"(module (import "a" "m" (memory 1)) (global i32 (i32.const 0)) (func))"#,
        "(module (memory 1 3) (global i32 (i32.const 0)) (func))",
        "(module (memory i64 1) (global i32 (i32.const 0)) (func))",
        "(module (memory 1) (memory 1) (global i32 (i32.const 0)) (func))",
        "(module (memory 1) (func))",
        "(module (memory 1) (global i32 (i32.const 0)))",
        r#"(module (memory 1) (global i32 (i32.const 0)) (func) (@custom ".debug_info" "x"))"#,
    ] {
        let module = wasm(text);
        assert_eq!(at_birth(&module).unwrap(), module, "{text}");
    }
    assert!(at_birth(b"no module").is_err());
}
