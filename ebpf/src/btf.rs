//! A reader of BTF, the kernel's own type information (Documentation/bpf/btf.rst): only what finding a member and
//! counting the parameters of a tracepoint takes.

use std::collections::HashMap;

use thiserror::Error;

/// Why BTF could not be read, or not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BtfError {
    #[error("not BTF of this machine's byte order: magic {magic:#x}")]
    Magic { magic: u16 },
    #[error("BTF ends inside of {what}")]
    Truncated { what: &'static str },
    #[error("type {id} has the unknown kind {kind}")]
    UnknownKind { id: u32, kind: u32 },
    #[error("this kernel has no struct {owner}")]
    NoStruct { owner: String },
    #[error("struct {owner} has no member {path}")]
    NoMember { owner: String, path: String },
    #[error("{owner}.{path} is a bit-field")]
    BitField { owner: String, path: String },
    #[error("{owner}.{path} has {found} bytes, expected at least {wanted}")]
    Size { owner: String, path: String, found: u32, wanted: u32 },
    #[error("several structs {owner} have {path}, at different offsets")]
    Ambiguous { owner: String, path: String },
}

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Typedefs, qualifiers and tags in a row; more is a loop in broken BTF.
const MAX_CHAIN: usize = 32;

/// Parsed type information.
#[derive(Debug)]
pub(crate) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Start of each type in `types`, by id; id 0 is void.
    starts: Vec<usize>,
    structs: HashMap<&'a str, Vec<u32>>,
    typedefs: HashMap<&'a str, u32>,
    functions: HashMap<&'a str, u32>,
}

#[derive(Clone, Copy)]
struct Type {
    start: usize,
    kind: u32,
    n_entries: u32,
    has_bit_sizes: bool,
    size_or_type: u32,
}

struct Member<'a> {
    name: &'a str,
    type_id: u32,
    bit_offset: u32,
    bit_size: u32,
}

/// The first parameter of a tracepoint's prototype that a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prototype {
    pub(crate) n_args: u32,
    pub(crate) first_is_pointer: bool,
}

fn u32_at(bytes: &[u8], at: usize, what: &'static str) -> Result<u32, BtfError> {
    bytes
        .get(at..at + 4)
        .and_then(|b| <[u8; 4]>::try_from(b).ok())
        .map(u32::from_ne_bytes)
        .ok_or(BtfError::Truncated { what })
}

impl<'a> Btf<'a> {
    /// Reads the header and indexes all types.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let magic = (u32_at(bytes, 0, "the header")? & 0xffff) as u16;
        if magic != 0xeb9f {
            return Err(BtfError::Magic { magic });
        }
        let header = |at| u32_at(bytes, at, "the header").map(|value| value as usize);
        let header_len = header(4)?;
        let section = |at: usize, what| {
            let start = header_len + header(at)?;
            let len = header(at + 4)?;
            bytes.get(start..start + len).ok_or(BtfError::Truncated { what })
        };
        let mut btf = Self {
            types: section(8, "the types")?,
            strings: section(16, "the strings")?,
            starts: vec![0],
            structs: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = self.starts.len() as u32;
            let ty = self.type_at(at)?;
            let n = ty.n_entries as usize;
            let tail = match ty.kind {
                KIND_INT | 14 | 17 => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | 15 | KIND_ENUM64 => n * 12,
                KIND_ENUM | KIND_FUNC_PROTO => n * 8,
                KIND_PTR | 7..=12 | 16 | KIND_TYPE_TAG => 0,
                kind => return Err(BtfError::UnknownKind { id, kind }),
            };
            let name = self.name(u32_at(self.types, at, "a type")?);
            match ty.kind {
                KIND_STRUCT if !name.is_empty() => self.structs.entry(name).or_default().push(id),
                KIND_TYPEDEF => {
                    self.typedefs.insert(name, id);
                }
                KIND_FUNC => {
                    self.functions.insert(name, id);
                }
                _ => {}
            }
            self.starts.push(at);
            at += 12 + tail;
        }
        Ok(())
    }

    fn type_at(&self, start: usize) -> Result<Type, BtfError> {
        let info = u32_at(self.types, start + 4, "a type")?;
        Ok(Type {
            start,
            kind: (info >> 24) & 0x1f,
            n_entries: info & 0xffff,
            has_bit_sizes: info >> 31 == 1,
            size_or_type: u32_at(self.types, start + 8, "a type")?,
        })
    }

    fn type_by_id(&self, id: u32) -> Result<Type, BtfError> {
        let start = self.starts.get(id as usize).ok_or(BtfError::Truncated { what: "the types" })?;
        self.type_at(*start)
    }

    fn name(&self, offset: u32) -> &'a str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// The type behind typedefs, qualifiers and tags.
    fn resolve(&self, mut id: u32) -> Result<Type, BtfError> {
        for _ in 0..MAX_CHAIN {
            let ty = self.type_by_id(id)?;
            match ty.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = ty.size_or_type
                }
                _ => return Ok(ty),
            }
        }
        Err(BtfError::Truncated { what: "a chain of typedefs" })
    }

    fn size_of(&self, ty: Type) -> Result<u32, BtfError> {
        match ty.kind {
            KIND_PTR => Ok(8),
            KIND_ARRAY => {
                let element = self.resolve(u32_at(self.types, ty.start + 12, "an array")?)?;
                let n = u32_at(self.types, ty.start + 20, "an array")?;
                Ok(self.size_of(element)?.saturating_mul(n))
            }
            _ => Ok(ty.size_or_type),
        }
    }

    fn members(&self, ty: Type) -> impl Iterator<Item = Result<Member<'a>, BtfError>> + '_ {
        (0..ty.n_entries as usize).map(move |i| {
            let at = ty.start + 12 + i * 12;
            let offset = u32_at(self.types, at + 8, "a member")?;
            Ok(Member {
                name: self.name(u32_at(self.types, at, "a member")?),
                type_id: u32_at(self.types, at + 4, "a member")?,
                bit_offset: if ty.has_bit_sizes { offset & 0xff_ffff } else { offset },
                bit_size: if ty.has_bit_sizes { offset >> 24 } else { 0 },
            })
        })
    }

    /// Finds `name` in a struct or union, through members without a name: bit offset, bit-field size and type.
    fn find_member(&self, ty: Type, name: &str) -> Result<Option<(u32, u32, Type)>, BtfError> {
        for member in self.members(ty) {
            let member = member?;
            if member.name == name {
                return Ok(Some((member.bit_offset, member.bit_size, self.resolve(member.type_id)?)));
            }
            if member.name.is_empty() {
                let inner = self.resolve(member.type_id)?;
                if (inner.kind == KIND_STRUCT || inner.kind == KIND_UNION)
                    && let Some((offset, bits, ty)) = self.find_member(inner, name)?
                {
                    return Ok(Some((member.bit_offset + offset, bits, ty)));
                }
            }
        }
        Ok(None)
    }

    /// Byte offset of `path` (members joined by dots) in the struct `owner`, and the size of what is there.
    fn locate(&self, id: u32, owner: &str, path: &str) -> Result<(u32, u32), BtfError> {
        let (bit_offset, bits, ty) = self.locate_bits(id, owner, path)?;
        if bits != 0 || bit_offset % 8 != 0 {
            return Err(BtfError::BitField { owner: owner.into(), path: path.into() });
        }
        Ok((bit_offset / 8, self.size_of(ty)?))
    }

    /// Bit offset of `path`, the size of a bit-field in bits or 0, and the type.
    fn locate_bits(&self, id: u32, owner: &str, path: &str) -> Result<(u32, u32, Type), BtfError> {
        let mut ty = self.type_by_id(id)?;
        let (mut bit_offset, mut bit_size) = (0, 0);
        for name in path.split('.') {
            let Some((offset, bits, inner)) = self.find_member(ty, name)? else {
                return Err(BtfError::NoMember { owner: owner.into(), path: path.into() });
            };
            bit_offset += offset;
            bit_size = bits;
            ty = inner;
        }
        Ok((bit_offset, bit_size, ty))
    }

    /// Position of a bit-field of one bit, counted in bits from the start of the struct (little-endian).
    pub(crate) fn bit(&self, owner: &str, path: &str) -> Result<u32, BtfError> {
        let id = self.structs.get(owner).and_then(|ids| ids.first());
        let id = id.ok_or_else(|| BtfError::NoStruct { owner: owner.into() })?;
        match self.locate_bits(*id, owner, path)? {
            (offset, 1, _) => Ok(offset),
            (_, found, _) => Err(BtfError::Size {
                owner: owner.into(),
                path: path.into(),
                found: found.div_ceil(8),
                wanted: 1,
            }),
        }
    }

    /// How many parameters a function has; `None` when the kernel has no such function.
    pub(crate) fn n_parameters(&self, function: &str) -> Result<Option<u32>, BtfError> {
        let Some(id) = self.functions.get(function) else { return Ok(None) };
        let prototype = self.resolve(self.type_by_id(*id)?.size_or_type)?;
        Ok((prototype.kind == KIND_FUNC_PROTO).then_some(prototype.n_entries))
    }

    /// Byte offset of a member of at least `wanted` bytes. Where several structs have the name, those without the
    /// member are passed over.
    pub(crate) fn offset(&self, owner: &str, path: &str, wanted: u32) -> Result<u32, BtfError> {
        let ids = self.structs.get(owner).ok_or_else(|| BtfError::NoStruct { owner: owner.into() })?;
        let mut answer: Option<(u32, u32)> = None;
        let mut refusal = BtfError::NoStruct { owner: owner.into() };
        for id in ids {
            match self.locate(*id, owner, path) {
                Ok(found) if answer.is_none_or(|known| known == found) => answer = Some(found),
                Ok(_) => return Err(BtfError::Ambiguous { owner: owner.into(), path: path.into() }),
                Err(error) => refusal = error,
            }
        }
        let (offset, found) = answer.ok_or(refusal)?;
        if found < wanted {
            return Err(BtfError::Size { owner: owner.into(), path: path.into(), found, wanted });
        }
        Ok(offset)
    }

    /// Size of a struct in bytes.
    pub(crate) fn struct_size(&self, owner: &str) -> Result<u32, BtfError> {
        let id = self.structs.get(owner).and_then(|ids| ids.first());
        let id = id.ok_or_else(|| BtfError::NoStruct { owner: owner.into() })?;
        Ok(self.type_by_id(*id)?.size_or_type)
    }

    /// What a tracepoint passes to a program; `None` when the kernel has no such tracepoint.
    pub(crate) fn tracepoint(&self, name: &str) -> Result<Option<Prototype>, BtfError> {
        let Some(id) = self.typedefs.get(format!("btf_trace_{name}").as_str()) else { return Ok(None) };
        let pointer = self.resolve(*id)?;
        let prototype = self.resolve(pointer.size_or_type)?;
        if pointer.kind != KIND_PTR || prototype.kind != KIND_FUNC_PROTO {
            return Ok(None);
        }
        // The first parameter is the tracepoint's own cookie, which programs do not see.
        let n_args = prototype.n_entries.saturating_sub(1);
        let first_is_pointer = if n_args == 0 {
            false
        } else {
            let first = u32_at(self.types, prototype.start + 12 + 8 + 4, "a parameter")?;
            self.resolve(first)?.kind == KIND_PTR
        };
        Ok(Some(Prototype { n_args, first_is_pointer }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF by hand: strings by content, types in order.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn string(&mut self, text: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(text.as_bytes());
            self.strings.push(0);
            at
        }

        fn ty(&mut self, name: &str, kind: u32, n: u32, flag: bool, size: u32, tail: &[u32]) -> &mut Self {
            let name = self.string(name);
            for word in [name, kind << 24 | n | u32::from(flag) << 31, size].iter().chain(tail) {
                self.types.extend_from_slice(&word.to_ne_bytes());
            }
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let mut out = vec![];
            out.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
            out.extend_from_slice(&[1, 0]);
            let (t, s) = (self.types.len() as u32, self.strings.len() as u32);
            for word in [24, 0, t, t, s] {
                out.extend_from_slice(&word.to_ne_bytes());
            }
            out.extend_from_slice(&self.types);
            out.extend_from_slice(&self.strings);
            out
        }
    }

    fn sample() -> Vec<u8> {
        let mut b = Builder::default();
        b.ty("int", KIND_INT, 0, false, 4, &[32]); // 1
        let (level, inum, flags) = (b.string("level"), b.string("inum"), b.string("flags"));
        b.ty("", KIND_STRUCT, 1, false, 8, &[level, 1, 32]); // 2: anonymous, level at byte 4
        b.ty("ns_common", KIND_STRUCT, 1, false, 8, &[inum, 1, 0]); // 3
        let ns = b.string("ns");
        // 4: anonymous member at byte 8, ns at byte 16
        b.ty("pid", KIND_STRUCT, 2, false, 24, &[0, 2, 64, ns, 3, 128]);
        // 5: a bit-field of 3 bits at bit 5
        b.ty("bits", KIND_STRUCT, 1, true, 4, &[flags, 1, 3 << 24 | 5]);
        b.ty("", KIND_PTR, 0, false, 0, &[]); // 6: void *
        b.ty("", KIND_FUNC_PROTO, 3, false, 0, &[0, 6, 0, 6, 0, 1]); // 7: (void *, void *, int)
        b.ty("", KIND_PTR, 0, false, 7, &[]); // 8
        b.ty("btf_trace_hook", KIND_TYPEDEF, 0, false, 8, &[]); // 9
        b.ty("do_it", KIND_FUNC, 1, false, 7, &[]); // 10
        let one = b.string("one");
        b.ty("switches", KIND_STRUCT, 1, true, 4, &[one, 1, 1 << 24 | 9]); // 11
        // 12: a second struct of the same name, without the members
        b.ty("pid", KIND_STRUCT, 1, false, 4, &[flags, 1, 0]);
        b.bytes()
    }

    #[test]
    fn finds_members_through_anonymous_structs_and_along_paths() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("pid", "level", 4), Ok(12));
        assert_eq!(btf.offset("pid", "ns.inum", 4), Ok(16));
        assert_eq!(btf.struct_size("ns_common"), Ok(8));
    }

    #[test]
    fn refuses_bit_fields_small_members_and_missing_ones() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert!(matches!(btf.offset("bits", "flags", 4), Err(BtfError::BitField { .. })));
        assert!(matches!(btf.offset("pid", "level", 8), Err(BtfError::Size { found: 4, wanted: 8, .. })));
        assert!(matches!(btf.offset("pid", "nothing", 4), Err(BtfError::NoMember { .. })));
        assert!(matches!(btf.offset("nothing", "level", 4), Err(BtfError::NoStruct { .. })));
    }

    #[test]
    fn counts_what_a_tracepoint_passes() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.tracepoint("hook"), Ok(Some(Prototype { n_args: 2, first_is_pointer: true })));
        assert_eq!(btf.tracepoint("nothing"), Ok(None));
    }

    #[test]
    fn finds_single_bits_and_counts_parameters() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.bit("switches", "one"), Ok(9));
        assert!(matches!(btf.bit("bits", "flags"), Err(BtfError::Size { .. })));
        assert!(matches!(btf.bit("pid", "level"), Err(BtfError::Size { .. })));
        assert_eq!(btf.n_parameters("do_it"), Ok(Some(3)));
        assert_eq!(btf.n_parameters("nothing"), Ok(None));
    }

    #[test]
    fn every_cut_of_good_btf_is_an_error_or_reads_as_less() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(Btf::parse(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
