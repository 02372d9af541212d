// What the kernel's entry code is called: arch/x86/entry/entry_{32,64,64_compat,64_fred}.S, kernel/head_{32,64}.S.
// Entry code has no CFI. On x86-64 ORC describes it; on i386, and in kernels without ORC, nothing does. But all of it works
// alike: it completes a struct pt_regs on the stack, passes its address as the first argument and calls a C function. So when that
// function returns, sp is the address of pt_regs again.
namespace KTrace.Symbols.Unwind;

/// <summary>Symbol names at which a stack ends or changes its kind.</summary>
internal static class KernelEntries
{
    /// <summary>Why a stack ends in that function when nothing leads on, or null.</summary>
    public static UnwindStop? StopIn(string? function) => function switch
    {
        null => null,
        _ when IsThreadStart(function) => new UnwindStop.KernelThreadStart(),
        _ when IsBoot(function) => new UnwindStop.BootEntry(),
        _ => null,
    };

    /// <summary>The first code of every task but the first.</summary>
    public static bool IsThreadStart(string? function) =>
        function is "ret_from_fork" or "ret_from_fork_asm" or "ret_from_kernel_thread" or "kernel_thread_helper";

    /// <summary>True for the function that a new user task calls first, with the registers of its parent's clone() above it.</summary>
    public static bool IsFirstCallOfUserTask(string? function) => function is "schedule_tail" or "syscall_exit_to_user_mode";

    /// <summary>Entry code that calls C with a complete pt_regs at the top of its stack.</summary>
    public static bool HasPtRegs(string? function) =>
        function is not null
        && (function.StartsWith("entry_", StringComparison.Ordinal)
            || function.StartsWith("asm_", StringComparison.Ordinal)
            || function.StartsWith("handle_exception", StringComparison.Ordinal)
            || function.StartsWith("idtentry_", StringComparison.Ordinal)
            || function is "common_interrupt" or "common_exception" or "error_entry" or "ret_from_intr" or "ret_from_exception"
                or "common_exception_read_cr2" or "nmi" or "page_fault" or "apic_timer_interrupt" or "reschedule_interrupt"
                or "call_function_interrupt" or "call_function_single_interrupt" or "irq_entries_start" or "native_irq_return_iret");

    /// <summary>Code of the entry paths, where a stack may have no row and still be known.</summary>
    public static bool IsEntryCode(string? function) =>
        HasPtRegs(function)
        || (function is not null
            && (function.StartsWith("paranoid_", StringComparison.Ordinal)
                || function.StartsWith("swapgs_restore_regs", StringComparison.Ordinal)
                || function.StartsWith("native_irq_return", StringComparison.Ordinal)
                || function.StartsWith("restore_", StringComparison.Ordinal)
                || function.StartsWith("nmi_", StringComparison.Ordinal)
                || function.StartsWith("syscall_return_via_sysret", StringComparison.Ordinal)
                || function.StartsWith("irq_entries_start", StringComparison.Ordinal)
                || function.StartsWith("spurious_entries_start", StringComparison.Ordinal)
                || function.StartsWith("early_idt_handler", StringComparison.Ordinal)
                || function is "common_interrupt_return" or "error_return" or "first_nmi" or "repeat_nmi" or "end_repeat_nmi" or "nested_nmi"
                    or "irq_return" or "ret_from_exception" or "double_fault" or "debug" or "int3" or "call_to_exception_trampoline"));

    /// <summary>Tracers that put themselves into the place of a return address, and what to say of it; null for everything else.</summary>
    public static string? ReturnReplacedBy(string? function) => function switch
    {
        "return_to_handler" or "return_to_handler_trampoline" => "the function graph tracer took the return address away (return_to_handler)",
        "arch_rethook_trampoline" => "a return probe took the return address away (arch_rethook_trampoline)",
        "kretprobe_trampoline" or "__kretprobe_trampoline" => "a return probe took the return address away (kretprobe_trampoline)",
        _ => null,
    };

    /// <summary>The pt_regs above this entry code is a system call's. <paramref name="callee"/> is the C function that the entry code called.</summary>
    public static bool IsSystemCall(string? entry, string? callee) =>
        (entry is not null
            && (entry.StartsWith("entry_SYSCALL", StringComparison.Ordinal)
                || entry.StartsWith("entry_SYSENTER", StringComparison.Ordinal)
                || entry.StartsWith("entry_INT80", StringComparison.Ordinal)
                || entry is "asm_int80_emulation" or "xen_entry_SYSCALL_64"))
        || callee is "do_syscall_64" or "do_fast_syscall_32" or "do_SYSENTER_32" or "do_int80_syscall_32" or "do_int80_emulation"
            or "int80_emulation" or "fred_int80_emulation" or "do_syscall_32_irqs_on" or "do_syscall_32_irqs_off";

    /// <summary>That system call has an i386 number, whatever kernel takes it.</summary>
    public static bool IsCompat(string? entry, string? callee) =>
        (entry is not null && (entry.Contains("compat", StringComparison.Ordinal) || entry.Contains("int80", StringComparison.OrdinalIgnoreCase)))
        || callee is "do_fast_syscall_32" or "do_SYSENTER_32" or "do_int80_syscall_32" or "do_int80_emulation" or "int80_emulation" or "fred_int80_emulation";

    /// <summary>What "ret" became (arch/x86/lib/retpoline.S).</summary>
    public static bool IsReturnThunk(string? function) =>
        function is "__x86_return_thunk" or "zen_untrain_ret" or "srso_return_thunk" or "srso_alias_return_thunk"
            or "retbleed_return_thunk" or "its_return_thunk" or "call_depth_return_thunk";

    /// <summary>The same with what AMD's thunks call, which drops that call's own return address and returns.</summary>
    public static bool IsOnTheWayBack(string? function) => IsReturnThunk(function) || function is "srso_safe_ret" or "srso_alias_safe_ret";

    /// <summary>Retpolines: they "return" to where they jump.</summary>
    public static bool IsThunk(string? function) => IsReturnThunk(function) || (function is not null && IsIndirectThunk(function));

    /// <summary>__x86_indirect_thunk_REG, or __x86_indirect_thunk_array for the first of them.</summary>
    public static bool IsIndirectThunk(string function) => function.StartsWith("__x86_indirect_thunk_", StringComparison.Ordinal);

    private static bool IsBoot(string function) =>
        function.StartsWith("secondary_startup_64", StringComparison.Ordinal)
        || function is "startup_32_smp" or "startup_32" or "startup_64" or "common_startup_64" or "start_cpu0" or "start_cpu" or "verify_cpu"
            or "x86_64_start_kernel" or "x86_64_start_reservations" or "i386_start_kernel" or "xen_start_kernel" or "pvh_start_xen"
            or "soft_restart_cpu" or "initial_code" or "default_entry" or "is486" or "enable_paging";
}
