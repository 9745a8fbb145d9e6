//! Gives a module the beginning of its heap at birth.
//!
//! A guest's allocator asks for memory before anything else, and each call has an instance of its own. So each call
//! began with a `memory.grow`, for which the host changes the protection of pages, twice: half of the time of a call
//! about a pull request. Here the memory begins larger, and the first pages that the allocator asks for are those,
//! without the host. All else is as before: sizes, contents, and what happens where there is no memory left.

use anyhow::Context as _;
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, Function, FunctionSection, GlobalSection, GlobalType, Instruction,
    MemorySection, MemoryType, Module, NameMap, NameSection, TypeSection, ValType,
};
use wasmparser::{Name, Operator, Parser, Payload, TypeRef};

/// Pages of 64 KiB that a memory has at birth in addition to those that it is linked with.
const SPARE: u64 = 16;

/// The name of the new function, in a backtrace.
const NAME: &str = "heap_grow";

/// The same module with a heap at birth; one whose memory is not one of its own, of 32 bits, unshared and without a
/// limit, or that tells its lines, stays as it is.
pub(crate) fn at_birth(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let Some(mut heap) = Heap::plan(module).context("it is no module")? else {
        return Ok(module.to_vec());
    };
    let mut out = Module::new();
    heap.parse_core_module(&mut out, Parser::new(0), module)
        .map_err(|error| anyhow::anyhow!("its heap cannot be prepared: {error}"))?;
    Ok(out.finish())
}

/// What comes where.
struct Heap {
    /// The index of the type `(i32) -> i32` of the new function.
    ty: u32,
    /// The index of the new function.
    function: u32,
    /// The index of the new global: the pages that the guest knows of.
    global: u32,
    /// Pages that it is linked with.
    pages: u32,
}

impl Heap {
    fn plan(module: &[u8]) -> anyhow::Result<Option<Self>> {
        let (mut types, mut functions, mut globals) = (0, 0, 0);
        let (mut memory, mut code, mut own_globals) = (None, false, false);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => functions += 1,
                            TypeRef::Global(_) => globals += 1,
                            TypeRef::Memory(_) => return Ok(None),
                            TypeRef::Table(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => functions += section.count(),
                Payload::GlobalSection(section) => {
                    globals += section.count();
                    own_globals = true;
                }
                Payload::MemorySection(section) => {
                    let mut memories = section.into_iter();
                    memory = memories.next().transpose()?;
                    if memories.next().is_some() {
                        return Ok(None);
                    }
                }
                Payload::CodeSectionStart { .. } => code = true,
                // It tells lines by places in the code, which would be others.
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    return Ok(None);
                }
                _ => {}
            }
        }
        let Some(memory) = memory else {
            return Ok(None);
        };
        let is_plain = !memory.memory64
            && !memory.shared
            && memory.maximum.is_none()
            && memory.page_size_log2.is_none();
        // Then there are sections to add to.
        if !is_plain || !code || !own_globals || types == 0 {
            return Ok(None);
        }
        Ok(Some(Heap {
            ty: types,
            function: functions,
            global: globals,
            pages: u32::try_from(memory.initial)?,
        }))
    }

    /// `memory.grow` of a guest that has pages it does not know of.
    fn grow(&self) -> Function {
        const WANTED: u32 = 0;
        const MISSING: u32 = 1;
        let mut grow = Function::new([(1, ValType::I32)]);
        grow.instructions()
            // How many are missing once the spare ones are used.
            .global_get(self.global)
            .local_get(WANTED)
            .i32_add()
            .memory_size(0)
            .i32_sub()
            .local_set(MISSING)
            // More than there can be: an overflow would look as if there were enough.
            .local_get(WANTED)
            .i32_const(1 << 16)
            .i32_gt_u()
            .if_(wasm_encoder::BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .local_get(MISSING)
            .i32_const(0)
            .i32_gt_s()
            .if_(wasm_encoder::BlockType::Empty)
            .local_get(MISSING)
            .memory_grow(0)
            .i32_const(-1)
            .i32_eq()
            .if_(wasm_encoder::BlockType::Empty)
            .i32_const(-1)
            .return_()
            .end()
            .end()
            // The old size is the answer.
            .global_get(self.global)
            .global_get(self.global)
            .local_get(WANTED)
            .i32_add()
            .global_set(self.global)
            .end();
        grow
    }
}

type Result<T, E = reencode::Error> = std::result::Result<T, E>;

impl Reencode for Heap {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32], [ValType::I32]);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.ty);
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<()> {
        for memory in section {
            let memory = self.memory_type(memory?)?;
            memories.memory(MemoryType {
                minimum: memory.minimum + SPARE,
                ..memory
            });
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_global_section(self, globals, section)?;
        let ty = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i32_const(self.pages.cast_signed()));
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_code_section(self, code, section)?;
        code.function(&self.grow());
        Ok(())
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>> {
        match operator {
            Operator::MemoryGrow { mem: 0 } => Ok(Instruction::Call(self.function)),
            Operator::MemorySize { mem: 0 } => Ok(Instruction::GlobalGet(self.global)),
            other => utils::instruction(self, other),
        }
    }

    fn parse_custom_name_subsection(
        &mut self,
        names: &mut NameSection,
        section: Name<'_>,
    ) -> Result<()> {
        let Name::Function(functions) = section else {
            return utils::parse_custom_name_subsection(self, names, section);
        };
        let mut all = NameMap::new();
        for function in functions {
            let function = function?;
            all.append(function.index, function.name);
        }
        all.append(self.function, NAME);
        names.functions(&all);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
