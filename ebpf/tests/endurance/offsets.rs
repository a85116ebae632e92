use libtest_mimic::Completion;
use podproof_abi::Offsets;
use podproof_ebpf::{TraceOptions, Tracer};
use crate::Res;
pub(crate) fn refused() -> Res<Completion> {
    let options = TraceOptions { counters: true, ..TraceOptions::default() };
    for (idx, field) in Offsets::FIELDS.iter().enumerate() {
        for delta in [4i32, 8, -8] {
            let t = std::time::Instant::now();
            let result = Tracer::start_with_offsets(&options, |offsets| {
                let words: &mut [u32] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(offsets));
                words[idx] = words[idx].wrapping_add_signed(delta);
            });
            let said = match result { Ok(t) => { let v: Vec<String> = t.probes().iter().filter(|p| !p.attached && p.tier < 3).map(|p| format!("{}:{}", p.name, p.reason.clone().unwrap_or_default())).collect(); format!("LOADS {v:?}") }, Err(e) => e.to_string() };
            println!("EXP {}.{} {delta:+} {:?}: {}", field.owner, field.path, t.elapsed(), said);
        }
    }
    Ok(Completion::Completed)
}
