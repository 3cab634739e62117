//! Compares what this crate declares with the headers that are installed.
//!
//! A wrong declaration is undefined behaviour that no test of behaviour need notice, so every
//! name, parameter, struct field and enumerator is held against the C text. The headers are part
//! of what building and testing needs (`librbd-dev`, `librados-dev`); without them this fails.

use std::collections::BTreeMap;
use std::fs;

use super::rados::Rados;
use super::rbd::Rbd;
use super::types::{CONSTANTS, STRUCTS};
use super::{Declaration, load::Ceph};

const HEADERS: [&str; 2] = ["/usr/include/rados/librados.h", "/usr/include/rbd/librbd.h"];

/// The Ceph release of the headers that Debian 12 has. Symbols that came later are not in them.
const HEADERS_RELEASE: u8 = 16;

/// A header without comments and preprocessor lines, and each run of white space as one space.
fn header(path: &str) -> String {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{path}: {error}; install librbd-dev and librados-dev"));
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("/*") {
        code.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("an open comment");
        rest = &rest[start + end + 2..];
    }
    code.push_str(rest);
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let lines: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    lines
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn both() -> String {
    HEADERS.map(header).join(" ")
}

/// A C type (`const char *const`, `struct timespec *`, `char **`) as this crate would write it.
fn rust_type(c: &str) -> String {
    let spaced = c.replace('*', " * ");
    let mut base = None;
    // Whether what the next star points to is const.
    let mut is_const = false;
    let mut result = String::new();
    for word in spaced.split_whitespace() {
        match word {
            "const" => is_const = true,
            "struct" => {}
            "*" => {
                let pointee = match base.take() {
                    Some("void") => "c_void".to_owned(),
                    Some(base) => scalar(base),
                    None => result,
                };
                result = format!("*{} {pointee}", if is_const { "const" } else { "mut" });
                is_const = false;
            }
            other => base = Some(other),
        }
    }
    match base {
        Some("void") => "()".to_owned(),
        Some(base) => scalar(base),
        None => result,
    }
}

fn scalar(c: &str) -> String {
    match c {
        "char" => "c_char",
        "int" => "c_int",
        "unsigned" => "c_uint",
        "uint8_t" => "u8",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        "int64_t" => "i64",
        "size_t" => "usize",
        "ssize_t" => "isize",
        other => other,
    }
    .to_owned()
}

/// `int64_t pool_id` as type and name; a name may be missing.
fn without_name(parameter: &str) -> &str {
    let trimmed = parameter.trim();
    let end = trimmed.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
    // A single word is a type without a name, and so is what ends in a star.
    if end.is_empty() || end.trim() == "const" || end == trimmed {
        trimmed
    } else {
        end.trim()
    }
}

struct Prototype {
    returns: String,
    parameters: Vec<String>,
}

/// Every exported function of the headers.
fn prototypes(code: &str) -> BTreeMap<String, Prototype> {
    let mut found = BTreeMap::new();
    for api in ["CEPH_RADOS_API ", "CEPH_RBD_API "] {
        for piece in code.split(api).skip(1) {
            let Some((head, rest)) = piece.split_once('(') else {
                continue;
            };
            // A parameter may be a pointer to a function; none of those is declared here.
            let Some((list, _)) = rest.split_once(')') else {
                continue;
            };
            let name_at = head
                .trim_end()
                .rfind(|c: char| !c.is_alphanumeric() && c != '_')
                .expect("a return type");
            let (returns, name) = head.split_at(name_at + 1);
            let parameters = match list.trim() {
                "" | "void" => Vec::new(),
                list => list
                    .split(',')
                    .map(|p| rust_type(without_name(p)))
                    .collect(),
            };
            let prototype = Prototype {
                returns: rust_type(returns),
                parameters,
            };
            found.insert(name.trim().to_owned(), prototype);
        }
    }
    found
}

fn declarations() -> impl Iterator<Item = &'static Declaration> {
    Rados::DECLARATIONS.iter().chain(Rbd::DECLARATIONS)
}

#[test]
fn every_declaration_is_the_header_s() {
    let prototypes = prototypes(&both());
    assert!(
        prototypes.len() > 300,
        "only {} prototypes were understood",
        prototypes.len()
    );
    let mut wrong = Vec::new();
    for declaration in declarations() {
        match prototypes.get(declaration.name) {
            None if declaration.since > HEADERS_RELEASE => {}
            None => wrong.push(format!("{}: not in the headers", declaration.name)),
            Some(prototype) => {
                if prototype.parameters != declaration.parameters {
                    wrong.push(format!(
                        "{}: parameters are {:?}, declared {:?}",
                        declaration.name, prototype.parameters, declaration.parameters
                    ));
                }
                if prototype.returns != declaration.returns {
                    wrong.push(format!(
                        "{}: returns {}, declared {}",
                        declaration.name, prototype.returns, declaration.returns
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_required_is_there_from_the_oldest_ceph_on() {
    for declaration in declarations() {
        assert!(
            !declaration.required || declaration.since <= HEADERS_RELEASE,
            "{} came with {} and may not be required",
            declaration.name,
            declaration.since
        );
    }
}

#[test]
fn every_struct_is_the_header_s() {
    let code = both();
    for (name, fields) in STRUCTS {
        let end = code
            .find(&format!("}} {name}"))
            .unwrap_or_else(|| panic!("no struct {name}"));
        let start = code[..end].rfind('{').expect("a struct's brace") + 1;
        let in_header: Vec<(String, String)> = code[start..end]
            .split(';')
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .map(|field| {
                let c_type = without_name(field);
                let field_name = field[c_type.len()..].trim().trim_start_matches('*');
                (field_name.to_owned(), rust_type(c_type))
            })
            .collect();
        let ours: Vec<(String, String)> = fields
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()))
            .collect();
        assert_eq!(ours, in_header, "{name}");
    }
}

#[test]
fn every_enumerator_is_the_header_s() {
    let code = both();
    let macros = HEADERS
        .map(|path| fs::read_to_string(path).unwrap())
        .join("\n");
    for (name, value) in CONSTANTS {
        let from_enum = code.match_indices(name).find_map(|(at, _)| {
            let after = code[at + name.len()..].trim_start();
            let before = code[..at].trim_end();
            if !(before.ends_with('{') || before.ends_with(',')) {
                return None;
            }
            if let Some(assigned) = after.strip_prefix('=') {
                let word = assigned.trim_start().split([',', ' ', '}']).next()?;
                return word.parse::<u32>().ok();
            }
            // Without a number: its place in the list.
            let list = &before[before.rfind('{')? + 1..];
            u32::try_from(list.matches(',').count()).ok()
        });
        let from_macro = macros.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["#define", found, "(1", "<<", shift] if found == name => shift
                    .trim_end_matches(')')
                    .parse::<u32>()
                    .ok()
                    .map(|shift| 1 << shift),
                ["#define", found, number] if found == name => number.parse().ok(),
                _ => None,
            }
        });
        assert_eq!(from_enum.or(from_macro), Some(*value), "{name}");
    }
}

/// The reading of C types above is itself worth a look.
#[test]
fn c_types_are_understood() {
    assert_eq!(rust_type("const char *const"), "*const c_char");
    assert_eq!(rust_type("char **"), "*mut *mut c_char");
    assert_eq!(rust_type("const char **"), "*mut *const c_char");
    assert_eq!(rust_type("struct timespec *"), "*mut timespec");
    assert_eq!(rust_type("void *"), "*mut c_void");
    assert_eq!(rust_type("void"), "()");
    assert_eq!(rust_type("uint64_t"), "u64");
    assert_eq!(without_name("const char *name"), "const char *");
    assert_eq!(without_name("rados_t cluster"), "rados_t");
    assert_eq!(without_name("size_t"), "size_t");
}

#[test]
fn the_installed_libraries_load_and_lack_only_what_came_later() {
    let ceph = Ceph::load().unwrap();
    assert_eq!(ceph.librbd_version().major, 1);
    assert_eq!(ceph.librados_version().major, 3);
    // Ceph 16 is what Debian 12 has; a newer one has the function.
    if ceph.librbd_version().minor <= 16 {
        let error = ceph.rbd().rbd_mirror_remote_namespace_get().unwrap_err();
        assert_eq!(
            error.to_string(),
            "librbd.so.1 has no function rbd_mirror_remote_namespace_get: it came with Ceph 20"
        );
    }
}

#[test]
fn a_library_that_is_not_there_is_an_error() {
    let none = std::path::Path::new("libno-such-library.so.9");
    let error = Ceph::load_from(none, none).unwrap_err();
    assert_eq!(error.to_string(), "cannot load libno-such-library.so.9");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_library_without_a_required_function_is_refused_by_its_name() {
    // The C library is a library, and certainly not librbd.
    let libc = std::path::Path::new("libc.so.6");
    let error = Ceph::load_from(std::path::Path::new("librados.so.2"), libc).unwrap_err();
    assert_eq!(
        error.to_string(),
        "librbd.so.1 has no function rbd_version: it came with Ceph 10"
    );
}
