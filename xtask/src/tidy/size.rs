//! No file longer than 400 lines of code, no function longer than 60.

use std::ops::Range;

use super::code::Code;
use super::failure::{Failure, Rule};
use super::tree::{File, Tree};

const FILE_LIMIT: usize = 400;
const FUNCTION_LIMIT: usize = 60;

static FILE: Rule = Rule {
    why: "a reader holds about one screenful of ideas at a time; the longest file is the one that is never understood",
    instead: "split it by what its parts know, one noun a file; tests in `#[cfg(test)] mod` blocks do not count",
};

static FUNCTION: Rule = Rule {
    why: "a function that does not fit on a screen cannot be checked by eye",
    instead: "give its steps names, as functions of their own, or move cases into a table",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Failure> {
    let mut failures = Vec::new();
    let lines = file_lines(&file.code);
    if lines > FILE_LIMIT {
        let what = format!("{lines} lines of code; the limit is {FILE_LIMIT}");
        failures.push(Failure::new(&file.path, 1, what, &FILE));
    }
    for function in functions(&file.code) {
        let lines = body_lines(&file.code, function.body);
        if lines > FUNCTION_LIMIT {
            let name = function.name;
            let what = format!("`{name}` has {lines} lines of code; the limit is {FUNCTION_LIMIT}");
            let line = file.code.line(function.start);
            failures.push(Failure::new(&file.path, line, what, &FUNCTION));
        }
    }
    failures
}

/// Lines of code outside the test modules.
fn file_lines(code: &Code) -> usize {
    let all = code.code_lines(0..code.masked.len());
    let tests: usize = test_modules(code)
        .into_iter()
        .map(|module| code.code_lines(module))
        .sum();
    all - tests
}

/// The bytes of each `#[cfg(test)] mod name { … }`, attributes included.
fn test_modules(code: &Code) -> Vec<Range<usize>> {
    let mut modules: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.masked.match_indices("#[cfg(test)]") {
        if modules.last().is_some_and(|last| start < last.end) {
            continue;
        }
        if let Some(end) = test_module_end(code, start) {
            modules.push(start..end);
        }
    }
    modules
}

fn test_module_end(code: &Code, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let rest = &code.masked[at..];
        at += rest.len() - rest.trim_start().len();
        if !code.masked[at..].starts_with("#[") {
            break;
        }
        at = code.group_end(at + 1)?;
    }
    let open = at + code.masked[at..].find(['{', ';'])?;
    let head: Vec<&str> = code.masked[at..open].split_whitespace().collect();
    let is_module = head.iter().rev().nth(1) == Some(&"mod");
    if !is_module || !code.masked[open..].starts_with('{') {
        return None;
    }
    code.group_end(open)
}

struct Function<'a> {
    name: &'a str,
    start: usize,
    /// From the opening brace to the byte after the closing one.
    body: Range<usize>,
}

/// Every function with a body, those inside others too.
fn functions(code: &Code) -> Vec<Function<'_>> {
    code.words("fn")
        .filter_map(|start| {
            let rest = code.masked[start + 2..].trim_start();
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = name.into_iter().next().filter(|name| !name.is_empty())?;
            let open = body_start(code, start)?;
            let body = open..code.group_end(open)?;
            Some(Function { name, start, body })
        })
        .collect()
}

/// The brace that opens the body; nothing for a declaration that ends with a semicolon.
fn body_start(code: &Code, start: usize) -> Option<usize> {
    let bytes = code.masked.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' => at = code.group_end(at)?,
            b'{' => return Some(at),
            b';' | b')' | b']' | b'}' => return None,
            _ => at += 1,
        }
    }
    None
}

/// Lines of code between the braces.
fn body_lines(code: &Code, body: Range<usize>) -> usize {
    let lines = code.code_lines(body.clone());
    let braces = code.line(body.end) - code.line(body.start);
    match braces {
        0 => lines,
        _ => lines.saturating_sub(2),
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_source(source: &str, places: &[&str]) {
        let tree = Tree::of(&[("a.rs", source)]);
        assert_places(&check(&tree), places);
    }

    fn function(head: &str, lines: usize) -> String {
        format!("{head} {{\n{}}}\n", "    x();\n".repeat(lines))
    }

    #[test]
    fn a_file_has_400_lines_of_code_at_most() {
        let code = "const A: u8 = 1;\n";
        check_source(&code.repeat(400), &[]);
        check_source(&code.repeat(401), &["a.rs:1"]);
        let comments = "// why\n\n/* and\n why */\n".repeat(500);
        check_source(&(code.repeat(400) + &comments), &[]);
    }

    #[test]
    fn test_modules_do_not_count() {
        let code = "const A: u8 = 1;\n";
        let module = |head: &str| format!("{}{head} {{\n{}}}\n", code.repeat(390), code.repeat(20));
        check_source(&module("#[cfg(test)]\nmod tests"), &[]);
        check_source(
            &module("#[cfg(test)]\n#[allow(x)]\npub(crate) mod seeds"),
            &[],
        );
        check_source(&module("mod tests"), &["a.rs:1"]);
        check_source(&module("#[cfg(test)]\nmod a;\nmod tests"), &["a.rs:1"]);
        check_source(&module("#[cfg(test)]\nimpl A"), &["a.rs:1"]);
    }

    #[test]
    fn a_function_has_60_lines_of_code_at_most() {
        check_source(&function("fn a()", 60), &[]);
        check_source(&function("fn a()", 61), &["a.rs:1"]);
        check_source(
            &function("\npub async fn a<T>(b: [u8; 2])", 61),
            &["a.rs:2"],
        );
        check_source(&function("type A = fn();\nmod b", 100), &[]);
        check_source(&function("trait A {\nfn b(); }\nmod c", 100), &[]);
        check_source(&function("// fn a()\nmod b", 100), &[]);
        let blank = function("fn a()", 50).replace("x();\n", "x();\n\n// why\n");
        check_source(&blank, &[]);
    }

    #[test]
    fn inner_functions_count_too() {
        let inner = function("fn inner()", 61);
        let source = format!("fn outer() {{\n{inner}}}\n");
        check_source(&source, &["a.rs:1", "a.rs:2"]);
    }
}
