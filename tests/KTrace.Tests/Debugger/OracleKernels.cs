using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

/// <summary>Kernels for the long tests: those in ktrace's cache, and build trees that somebody names.</summary>
internal static class OracleKernels
{
    /// <summary>A folder of kernel build trees, one folder each (fp64, clang64 …): what the names after "tree:" refer to.</summary>
    public const string TreesVariable = "KTRACE_TEST_KERNEL_TREES";

    /// <summary>A static busybox for i386, for guests with the 32-bit trees' kernels; ./test fetches one.</summary>
    public const string BusyboxVariable = "KTRACE_TEST_BUSYBOX_I386";

    /// <summary>"stock", "other" (another release in the cache), or "tree:NAME". Skips the test when there is none.</summary>
    public static OracleKernel Open(string name)
    {
        if (name == "stock")
        {
            return OracleKernel.Package(StockKernel.Root, StockKernel.Release);
        }

        if (name == "other")
        {
            foreach (var root in Directory.GetDirectories(Path.GetDirectoryName(Path.GetFullPath(StockKernel.Root))!))
            {
                var release = Path.GetFileName(root);
                if (release != StockKernel.Release && File.Exists(OracleKernel.Package(root, release).Vmlinux) && File.Exists(OracleKernel.Package(root, release).Image))
                {
                    return OracleKernel.Package(root, release);
                }
            }

            throw new SkipException("no second kernel in the cache: fetch one with ./ktrace kernel fetch RELEASE");
        }

        var tree = Path.Combine(Environment.GetEnvironmentVariable(TreesVariable) ?? "", name["tree:".Length..]);
        Skip.IfNot(File.Exists(Path.Combine(tree, "vmlinux")), $"{TreesVariable} names no folder with a built kernel tree {name["tree:".Length..]}");
        var architecture = name.EndsWith("32", StringComparison.Ordinal) ? "i386" : "x86-64";
        Skip.If(architecture == "i386" && Environment.GetEnvironmentVariable(BusyboxVariable) is null, $"{BusyboxVariable} names no static busybox for i386");
        return OracleKernel.Tree(tree, architecture) with { Busybox = architecture == "i386" ? Environment.GetEnvironmentVariable(BusyboxVariable) : null };
    }
}

/// <summary>What guests do in these tests.</summary>
internal static class OracleScripts
{
    /// <summary>
    /// Stacks from within ftrace's trampoline, from a probe on a function's entry (through ftrace), from one in its middle (int3, and once it
    /// was optimised a jump into a detour), in system calls and in page faults of the kernel on user memory.
    /// </summary>
    public const string Tracers = """
        echo N > /sys/module/printk/parameters/ignore_loglevel
        echo 1 > /proc/sys/kernel/printk
        mount -t tracefs tracefs /sys/kernel/tracing
        cd /sys/kernel/tracing
        echo 1 > options/sym-offset
        echo 0 > options/sym-addr
        echo do_exit > set_ftrace_filter
        echo vfs_open >> set_ftrace_filter
        echo tick_sched_timer >> set_ftrace_filter
        echo tick_nohz_handler >> set_ftrace_filter
        echo 1 > options/func_stack_trace
        echo function > current_tracer
        cat /init > /dev/null
        (exit 3)
        sleep 0.1
        echo 0 > options/func_stack_trace
        cat trace
        echo nop > current_tracer
        echo 'p:entry vfs_statx' > kprobe_events
        echo 'p:fault handle_mm_fault flags=%dx' >> kprobe_events
        echo 'p:middle vfs_read+0x1f' >> kprobe_events || echo 'p:middle vfs_read+0x20' >> kprobe_events || echo 'p:middle vfs_read+0x22' >> kprobe_events
        echo stacktrace > events/kprobes/entry/trigger
        echo 'stacktrace if !(flags & 0x40)' > events/kprobes/fault/trigger
        echo stacktrace > events/kprobes/middle/trigger
        echo 1 > events/kprobes/entry/enable
        echo 1 > events/kprobes/fault/enable
        ls / > /dev/null
        (exit 4)
        echo 0 > events/kprobes/fault/enable
        echo 0 > events/kprobes/entry/enable
        echo 1 > events/kprobes/middle/enable
        cat /init > /dev/null
        sleep 0.2
        cat /init > /dev/null
        echo 0 > events/kprobes/middle/enable
        echo '!stacktrace' > events/kprobes/entry/trigger
        echo '!stacktrace' > events/kprobes/middle/trigger
        echo '!stacktrace if !(flags & 0x40)' > events/kprobes/fault/trigger
        cat trace
        """;
}
