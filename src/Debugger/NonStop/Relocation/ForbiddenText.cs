// Code that must be left as it is, whatever its first instructions are. By place (include/asm-generic/vmlinux.lds.h; the same names as sections of modules), and by name where
// the kernel has no bounds for it: what runs in the identity map, without paging or without per-cpu memory (arch/x86/kernel/head_*.S, head64.c, cpu/microcode on i386 to 6.5), what is
// copied elsewhere to run there (relocate_kernel_*.S, hibernate_asm_*.S, ftrace_*.S, kprobes/opt.c), and what leaves by other ways than it came.
using KTrace.Symbols.Elf;
using KTrace.Symbols.Recovery;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>Which functions are not for patching.</summary>
internal sealed class ForbiddenText
{
    private static readonly (string Start, string End, string Section, string Reason)[] s_places =
    [
        ("__noinstr_text_start", "__noinstr_text_end", ".noinstr.text", "it lies in .noinstr.text"),
        ("__entry_text_start", "__entry_text_end", ".entry.text", "it is entry code"),
        ("__kprobes_text_start", "__kprobes_text_end", ".kprobes.text", "it lies in .kprobes.text"),
        ("__cpuidle_text_start", "__cpuidle_text_end", ".cpuidle.text", "it lies in .cpuidle.text"),
        ("__static_call_text_start", "__static_call_text_end", ".static_call.text", "it is a static call's trampoline"),
        ("__indirect_thunk_start", "__indirect_thunk_end", ".text..__x86.indirect_thunk", "it is a thunk"),
    ];

    private static readonly (string Part, string Reason)[] s_names =
    [
        ("startup_", "it runs before the kernel's page tables are in use"),
        ("start_cpu0", "it runs before the kernel's page tables are in use"),
        ("verify_cpu", "it runs before the kernel's page tables are in use"),
        ("sev_verify_cbit", "it runs before the kernel's page tables are in use"),
        ("mk_early_pgtbl", "it runs before the kernel's page tables are in use"),
        ("sme_", "it runs before the kernel's page tables are in use"),
        ("snp_", "it runs before the kernel's page tables are in use"),
        ("early_idt_handler", "it is entry code"),
        ("asm_", "it is entry code"),
        ("ret_from_fork", "it is entry code"),
        ("__switch_to_asm", "it is entry code"),
        ("rewind_stack", "it is entry code"),
        ("ftrace_caller", "it is code of the kernel's own tracer, which copies it"),
        ("ftrace_regs_caller", "it is code of the kernel's own tracer, which copies it"),
        ("ftrace_graph_caller", "it is code of the kernel's own tracer, which copies it"),
        ("ftrace_stub", "it is code of the kernel's own tracer, which copies it"),
        ("return_to_handler", "it is code of the kernel's own tracer"),
        ("__fentry__", "it is code of the kernel's own tracer"),
        ("kretprobe_trampoline", "it is a probe's trampoline"),
        ("__kretprobe_trampoline", "it is a probe's trampoline"),
        ("arch_rethook_trampoline", "it is a probe's trampoline"),
        ("optprobe_template", "it is a probe's trampoline, which is copied"),
        ("relocate_kernel", "it is copied and runs elsewhere"),
        ("identity_mapped", "it is copied and runs elsewhere"),
        ("virtual_mapped", "it is copied and runs elsewhere"),
        ("swap_pages", "it is copied and runs elsewhere"),
        ("core_restore_code", "it is copied and runs elsewhere"),
        ("restore_image", "it is copied and runs elsewhere"),
        ("restore_registers", "it runs before per-cpu memory is restored"),
        ("wakeup_", "it runs before per-cpu memory is restored"),
        ("do_suspend_lowlevel", "it runs before per-cpu memory is restored"),
        ("native_write_msr", "it sets where per-cpu memory is"),
        ("load_segments", "it takes per-cpu memory away"),
        ("xen_hypercall_", "the hypervisor writes its code"),
        ("hypercall_page", "the hypervisor writes its code"),
    ];

    // Anywhere in the name.
    private static readonly (string Part, string Reason)[] s_inside =
    [
        ("processor_state", "it runs before per-cpu memory is restored"),
        ("untrain_ret", "it is a thunk"),
        ("__x86_return_thunk", "it is a thunk"),
        ("__x86_indirect", "it is a thunk"),
    ];

    // i386 loads microcode before a CPU turns paging on (arch/x86/kernel/head_32.S, to 6.5).
    private static readonly string[] s_beforePaging32 = ["ucode", "microcode", "find_cpio_data"];

    private readonly List<(ulong Start, ulong End, string Reason)> _ranges = [];
    private readonly bool _isNarrow;

    public ForbiddenText(CodeObject code)
    {
        _isNarrow = code.Architecture.WordSize == 4;
        foreach (var (start, end, section, reason) in s_places)
        {
            if (code.Symbols.Find(start) is [var first, ..] && code.Symbols.Find(end) is [var last, ..])
            {
                _ranges.Add((first.Symbol.Value, last.Symbol.Value, reason));
            }

            foreach (var part in code.Symbols.Sections)
            {
                if (part.Name == section && code.Symbols.AddressOf(part) is > 0 and var address)
                {
                    _ranges.Add((address, address + part.Size, reason));
                }
            }
        }
    }

    /// <summary>Why a function must be left alone, or null.</summary>
    public string? ReasonFor(in ElfSymbol function)
    {
        foreach (var (start, end, reason) in _ranges)
        {
            if (function.Value >= start && function.Value < end)
            {
                return reason;
            }
        }

        var name = function.Name;
        foreach (var (part, reason) in s_names)
        {
            if (name.StartsWith(part, StringComparison.Ordinal) || (name.StartsWith("__" + part, StringComparison.Ordinal)))
            {
                return reason;
            }
        }

        foreach (var (part, reason) in s_inside)
        {
            if (name.Contains(part, StringComparison.Ordinal))
            {
                return reason;
            }
        }

        return _isNarrow && Array.Exists(s_beforePaging32, part => name.Contains(part, StringComparison.Ordinal)) ? "a CPU may run it before it turns paging on" : null;
    }
}
