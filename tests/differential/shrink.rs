//! Makes a program that shows a difference as small as it gets.

use std::io;

use serde_json::Value;

use crate::pair::{Difference, Pair};
use crate::program::{Op, Program};

/// Each attempt that still differs costs the time in which servers may come to rest.
const ATTEMPTS: usize = 80;

/// A smaller program that still shows a difference of the same kind.
///
/// # Errors
/// When a server cannot be reached.
pub(crate) fn shrink(
    pair: &Pair,
    mut program: Program,
    mut difference: Difference,
    same: impl Fn(&Difference) -> bool,
) -> io::Result<(Program, Difference)> {
    program.ops.truncate(difference.step + 1);
    let mut attempts = 0;
    let mut try_smaller = |candidate: Program, best: &mut (Program, Difference)| {
        attempts += 1;
        if attempts > ATTEMPTS {
            return Ok::<_, io::Error>(false);
        }
        match pair.run(&candidate)? {
            Some(found) if same(&found) => {
                *best = (candidate, found);
                let length = best.1.step + 1;
                best.0.ops.truncate(length);
                Ok(true)
            }
            _ => Ok(false),
        }
    };
    let mut size = program.ops.len() / 2;
    let mut best = (program, difference.clone());
    while size > 0 {
        let mut at = 0;
        while at < best.0.ops.len() {
            let mut smaller = best.0.clone();
            let end = (at + size).min(smaller.ops.len());
            smaller.ops.drain(at..end);
            if !try_smaller(smaller, &mut best)? {
                at += size;
            }
        }
        size /= 2;
    }
    for at in 0..best.0.ops.len() {
        let mut simpler = at < best.0.ops.len();
        while simpler {
            simpler = false;
            for op in simpler_forms(&best.0.ops[at]) {
                let mut smaller = best.0.clone();
                smaller.ops[at] = op;
                if try_smaller(smaller, &mut best)? {
                    simpler = at < best.0.ops.len();
                    break;
                }
            }
        }
    }
    (program, difference) = best;
    Ok((program, difference))
}

/// The same operation with one header or one field less.
fn simpler_forms(op: &Op) -> Vec<Op> {
    let Op::Request {
        subject,
        headers,
        body,
    } = op
    else {
        return Vec::new();
    };
    let with = |headers: Vec<(String, String)>, body: Vec<u8>| Op::Request {
        subject: subject.clone(),
        headers,
        body,
    };
    let mut forms = Vec::new();
    for at in 0..headers.len() {
        let mut fewer = headers.clone();
        fewer.remove(at);
        forms.push(with(fewer, body.clone()));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        for fewer in fewer_fields(&value) {
            forms.push(with(headers.clone(), fewer.to_string().into_bytes()));
        }
    }
    forms
}

fn fewer_fields(value: &Value) -> Vec<Value> {
    let mut forms = Vec::new();
    let Value::Object(fields) = value else {
        return forms;
    };
    for (name, inner) in fields {
        let mut fewer = fields.clone();
        fewer.remove(name);
        forms.push(Value::Object(fewer));
        for form in fewer_fields(inner) {
            let mut changed = fields.clone();
            changed.insert(name.clone(), form);
            forms.push(Value::Object(changed));
        }
    }
    forms
}
