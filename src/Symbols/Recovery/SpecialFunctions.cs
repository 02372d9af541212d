// Functions that do not keep to the C calling convention, or do not return: arch/x86/lib/{retpoline,putuser}.S, tools/objtool/check.c and noreturns.h
// (global_noreturns, 4.14 up to 6.12), gcc's -mfentry and -pg. Calls through a thunk may be patched into direct ones and into nops; that changes nothing here.
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>What is special about calling (or jumping to) a function.</summary>
internal enum SpecialFunction : byte
{
    /// <summary>An ordinary function.</summary>
    None,

    /// <summary>Changes nothing (__fentry__, which the kernel patches out).</summary>
    Tracer,

    /// <summary>A jump there is a return.</summary>
    ReturnThunk,

    /// <summary>A jump or call there goes on to the address in a register.</summary>
    IndirectThunk,

    NoReturn,

    /// <summary>Takes the callee-saved ebx or rbx away too.</summary>
    TakesRbx,

    /// <summary>i386's position-independent code: puts its return address into some register.</summary>
    ProgramCounterThunk,
}

internal static class SpecialFunctions
{
    private const int MaximumLength = 48;

    private static readonly HashSet<string> NoReturns = new(StringComparer.Ordinal)
    {
        "panic", "do_exit", "do_group_exit", "do_task_dead", "make_task_dead", "complete_and_exit", "kthread_exit", "kthread_complete_and_exit",
        "__module_put_and_exit", "__module_put_and_kthread_exit", "module_put_and_exit", "__stack_chk_fail", "fortify_panic", "__fortify_panic", "usercopy_abort",
        "rewind_stack_do_exit", "rewind_stack_and_make_dead", "cpu_startup_entry", "cpu_bringup_and_idle", "stop_this_cpu", "machine_real_restart",
        "__invalid_creds", "__reiserfs_panic", "lbug_with_loc", "kunit_try_catch_throw", "__kunit_abort", "xen_start_kernel", "x86_64_start_reservations", "x86_64_start_kernel",
        "start_kernel", "rest_init", "arch_call_rest_init", "arch_cpu_idle_dead", "hlt_play_dead", "resume_play_dead", "nmi_panic_self_stop", "panic_smp_self_stop", "snp_abort",
        "sev_es_terminate", "__ubsan_handle_builtin_unreachable", "ex_handler_msr_mce", "do_poweroff", "mpt_halt_firmware", "btrfs_assertfail", "vpanic", "early_fixup_exception_panic",
        "abort", "exit", "_exit", "__assert_fail",
    };

    private static readonly string[] OtherNames =
    [
        "__fentry__", "mcount", "_mcount", "ftrace_stub", "zen_untrain_ret", "srso_return_thunk", "srso_alias_return_thunk", "retbleed_return_thunk", "its_return_thunk",
        "call_depth_return_thunk",
    ];

    private static readonly bool[] Shapes = ShapesOf(NoReturns.Concat(OtherNames));

    public static SpecialFunction Classify(string name)
    {
        if (name is "__fentry__" or "mcount" or "_mcount" or "ftrace_stub")
        {
            return SpecialFunction.Tracer;
        }

        if (KernelEntries.IsReturnThunk(name))
        {
            return SpecialFunction.ReturnThunk;
        }

        if (KernelEntries.IsIndirectThunk(name) || name.StartsWith("__llvm_retpoline_", StringComparison.Ordinal))
        {
            return SpecialFunction.IndirectThunk;
        }

        if (name.StartsWith("__put_user_", StringComparison.Ordinal))
        {
            return SpecialFunction.TakesRbx;
        }

        if (name.StartsWith("__x86.get_pc_thunk.", StringComparison.Ordinal))
        {
            return SpecialFunction.ProgramCounterThunk;
        }

        return NoReturns.Contains(name) ? SpecialFunction.NoReturn : SpecialFunction.None;
    }

    /// <summary>May the name be special? A quick look at its bytes, for going over a whole symbol table: no text is made of the 100,000 others.</summary>
    public static bool MayBe(ReadOnlySpan<byte> name) =>
        name.Length is > 3 and < MaximumLength
        && (Shapes[ShapeOf(name.Length, name[0], name[^1])] || name.StartsWith("__x86"u8) || name.StartsWith("__put_user_"u8) || name.StartsWith("__llvm_retpoline_"u8));

    private static bool[] ShapesOf(IEnumerable<string> names)
    {
        var shapes = new bool[MaximumLength << 14];
        foreach (var name in names)
        {
            shapes[ShapeOf(name.Length, (byte)name[0], (byte)name[^1])] = true;
        }

        return shapes;
    }

    // Length, first and last letter: few symbols share all three with one of ours.
    private static int ShapeOf(int length, byte first, byte last) => (length << 14) | ((first & 0x7f) << 7) | (last & 0x7f);
}
