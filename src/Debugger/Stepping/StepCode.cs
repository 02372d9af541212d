// Code that no source line calls. arch/x86/lib/retpoline.S: with CONFIG_RETHUNK "ret" is a jump to __x86_return_thunk, an indirect jump or call goes through
// __x86_indirect_thunk_REG (6.2 has __x86_indirect_call_thunk_REG too); kernel/static_call.c: __SCT__NAME is a jump that is patched; ftrace: __fentry__.
// A person who steps is never stopped in these: they are part of the jump, the call or the return.
using System.Runtime.CompilerServices;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Stepping;

/// <summary>What a stepper asks about code, at run-time addresses.</summary>
internal sealed class StepCode
{
    private static readonly ConditionalWeakTable<KernelMap, StepCode> s_known = [];

    private readonly FaultFixups _fixups;

    private StepCode(KernelMap map) => (Map, Levels, _fixups) = (map, new CodeLevels(map), new FaultFixups(map));

    public KernelMap Map { get; }

    public CodeLevels Levels { get; }

    /// <summary>One for each map: line tables that were decoded serve the next step too.</summary>
    public static StepCode Of(KernelMap map) => s_known.GetValue(map, m => new StepCode(m));

    /// <summary>Where the kernel goes on when the instruction at an address faults as expected; null: nowhere else.</summary>
    public ulong? FixupOf(ulong address) => _fixups.Find(address);

    /// <summary>A return or an indirect jump in other words.</summary>
    public bool IsThunk(ulong address) => NameAt(address) is { } name && (IsReturnThunk(name)
        || name.StartsWith("__x86_indirect_", StringComparison.Ordinal) || name.StartsWith("__SCT__", StringComparison.Ordinal)
        || name.StartsWith("__llvm_retpoline_", StringComparison.Ordinal));

    /// <summary>"ret", or a jump to what became of it.</summary>
    public bool IsReturnThunk(ulong address) => NameAt(address) is { } name && IsReturnThunk(name);

    /// <summary>Calls that no source line has: the tracer's at a function's entry, and what a static call leads to while it has nothing to call.</summary>
    public bool IsFiller(ulong address) => NameAt(address) is "__static_call_return0" or "__fentry__" or "mcount" or "_mcount" or "ftrace_stub" or "ftrace_caller" or "ftrace_regs_caller";

    /// <summary>The first instruction of what an interrupt or exception runs (arch/x86/entry/entry_64.S, entry_32.S; page_fault and the like before 5.8).</summary>
    public bool IsTrapEntry(ulong address)
    {
        if (NameAt(address) is not { } name)
        {
            return false;
        }

        return name.StartsWith("irq_entries_start", StringComparison.Ordinal) || name.StartsWith("spurious_entries_start", StringComparison.Ordinal)
            || name.StartsWith("early_idt_handler", StringComparison.Ordinal)
            || ((name.StartsWith("asm_", StringComparison.Ordinal) || s_oldEntries.Contains(name)) && Levels.FunctionAround(address) is { } function && function.Start == address);
    }

    /// <summary>The first instruction of what a device's or a timer's interrupt runs.</summary>
    public bool IsInterruptEntry(ulong address) => IsTrapEntry(address) && NameAt(address) is { } name
        && (name.StartsWith("asm_sysvec_", StringComparison.Ordinal) || name.StartsWith("asm_common_interrupt", StringComparison.Ordinal)
            || name.Contains("_entries_start", StringComparison.Ordinal) || name.EndsWith("_interrupt", StringComparison.Ordinal));

    /// <summary>Whether two addresses are of one function, its parts elsewhere (<c>.cold</c>) included.</summary>
    public bool IsSameFunction(ulong one, ulong other)
    {
        if (Levels.FunctionAround(one) is { } function && other >= function.Start && other < function.End)
        {
            return true;
        }

        var (first, second) = (Levels.LevelsAt(one)[^1], Levels.LevelsAt(other)[^1]);
        return first.Identity == second.Identity && first.Function == second.Function;
    }

    /// <summary>The address is where a function is entered.</summary>
    public bool IsEntry(ulong address) => Levels.FunctionAround(address) is { } function && function.Start == address;

    /// <summary>Assembly jumps from label to label as it pleases: no such jump is a call.</summary>
    public bool IsAssembly(ulong address) => Levels.LineAt(address) is not { } line || line.File.EndsWith(".S", StringComparison.Ordinal);

    private static bool IsReturnThunk(string name) =>
        name is "__x86_return_thunk" or "zen_untrain_ret" or "srso_return_thunk" or "srso_alias_return_thunk" or "srso_safe_ret" or "srso_alias_safe_ret"
            or "retbleed_return_thunk" or "its_return_thunk" or "call_depth_return_thunk" or "__ret" or "entry_untrain_ret";

    private string? NameAt(ulong address) => Map.Unwind.FunctionAt(address);

    private static readonly HashSet<string> s_oldEntries = new(StringComparer.Ordinal)
    {
        "divide_error", "debug", "nmi", "int3", "overflow", "bounds", "invalid_op", "device_not_available", "double_fault", "coprocessor_segment_overrun", "invalid_TSS",
        "segment_not_present", "stack_segment", "general_protection", "page_fault", "spurious_interrupt_bug", "coprocessor_error", "alignment_check", "machine_check",
        "simd_coprocessor_error", "apic_timer_interrupt", "reschedule_interrupt", "call_function_interrupt", "call_function_single_interrupt", "async_page_fault",
    };
}
